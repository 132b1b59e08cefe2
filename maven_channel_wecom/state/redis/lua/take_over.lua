#!lua flags=allow-oom
-- Takes over the callbacks of replicas that are silent or gave them up, oldest first, opens the windows that these
-- replicas had claimed, and removes their streams. Returns the number of entries it took over or removed, then id,
-- received and message of each callback it took over. A repeated call finds its entries in its note.
-- ARGV: replica, token, silent_ms, the most callbacks to take over, the most entries to examine, now, end of claims.
local replica, token, silent_ms, most, most_examined, now, claim =
  ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6]), ARGV[7]

-- Returns the fields of an entry by name; nil when there is none.
local function read(entry)
  local found = redis.call('XRANGE', unfinished, entry, entry)[1]
  if not found then return nil end
  local fields = {}
  for i = 1, #found[2], 2 do fields[found[2][i]] = found[2][i + 1] end
  return fields
end

local taken = {}
local function add(callback) taken[#taken + 1] = {callback.id, callback.received, callback.message} end

for _, entry in ipairs(redis.call('LRANGE', note_key(token), 0, -1)) do
  local callback = read(entry)
  if callback and redis.call('HGET', message_key(callback.id), 'owner') == token then add(callback) end
end
if #taken > 0 then return answer(#taken, unpack(taken)) end

drop_expired_windows(now, 500)
-- After a gap in the heartbeats, only entries that were given up are taken over.
local idle_ms = record_heartbeat(silent_ms) and silent_ms or given_up_ms
local pending = redis.pcall('XPENDING', unfinished, group, 'IDLE', idle_ms, '-', '+', most_examined)
if pending.err and not pending.err:find('NOGROUP', 1, true) then return pending end
if pending.err then return answer(0) end

-- The answer may be lost, so until the replica confirms the message by a heartbeat, half of the silence is enough for
-- another one to take it over.
local unconfirmed_ms = math.floor(silent_ms / 2)

-- Number of entries that stay as they are, because the last frame of their stream may be on its way.
local left = 0

-- Returns whether the message still has to be worked on. `previous` is the replica that had it.
local function take(id, entry, previous)
  local key = message_key(id)
  local owned_entry, window, holder, chat, opened, expires, stream, answered =
    unpack(redis.call('HMGET', key, 'entry', 'window', 'holder', 'chat', 'opened', 'expires', 'stream', 'answered'))
  if owned_entry and owned_entry ~= entry then
    drop_entry(entry)
    return false
  end
  if window == 'spent' or answered then
    finish(id, now)
    return false
  end
  if stream and is_reserved(stream) then
    left = left + 1
    return false
  end
  if stream then
    redis.call('HDEL', key, 'stream')
    redis.call('DEL', stream_key(stream))
  end
  if window == 'claimed' and holder:sub(1, #previous + 1) == previous .. ':' then
    redis.call('HSET', key, 'window', 'open', 'repeated', 1)
    redis.call('HDEL', key, 'holder')
    list_window(id, chat, opened, expires, now)
  end
  redis.call('XCLAIM', unfinished, group, replica, 0, entry, 'IDLE', unconfirmed_ms, 'JUSTID')
  redis.call('HSET', key, 'owner', token)
  if not owned_entry then
    -- Redis evicted the record, contrary to the required policy. The callback is still there, without its window.
    redis.call('HSET', key, 'entry', entry, 'until', claim)
  end
  return true
end

-- The answer is limited in bytes as well: one that is too large to arrive in time would be lost again and again.
local bytes_left = 262144

local entries = {}
for _, waiting in ipairs(pending) do
  local entry, previous = waiting[1], waiting[2]
  local callback = read(entry)
  if not callback then
    redis.call('XACK', unfinished, group, entry)
  elseif take(callback.id, entry, previous) then
    add(callback)
    entries[#entries + 1] = entry
    bytes_left = bytes_left - #callback.message
    if bytes_left <= 0 or #taken == most then break end
  end
end
if #entries > 0 then
  redis.call('RPUSH', note_key(token), unpack(entries))
  redis.call('PEXPIRE', note_key(token), note_ms)
end

-- Removes the consumers of dead processes. Should one be alive, its next message creates it again.
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', unfinished, group)) do
  if consumer[4] == 0 and consumer[6] > 10 * silent_ms then
    redis.call('XGROUP', 'DELCONSUMER', unfinished, group, consumer[2])
  end
end
return answer(#pending - left, unpack(taken))
