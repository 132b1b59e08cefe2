#!lua flags=allow-oom
-- Takes over the callbacks of replicas that are silent or gave them up, oldest first, and reopens the windows these
-- were answering through. Returns how many windows are open, then the callbacks.
local replica, token, silent_ms, gone_ms, most, now, claim =
  ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]

drop_expired_windows(now, 500)
-- Without a steady pulse only what was given up, which is marked by an idle time no silence reaches.
local idle_ms = steady_pulse(silent_ms) and silent_ms or gone_ms
local pending = redis.pcall('XPENDING', stream, group, 'IDLE', idle_ms, '-', '+', most)
if pending.err then return answer() end

-- Returns whether the message is still to be worked on.
local function take(id, entry, before)
  local key = message_key(id)
  local owned_entry, window, holder, chat, opened, expires, claimed_until =
    unpack(redis.call('HMGET', key, 'entry', 'window', 'holder', 'chat', 'opened', 'expires', 'until'))
  if owned_entry and owned_entry ~= entry then
    drop_entry(entry)
    return false
  end
  local died_answering = window == 'claimed' and holder:sub(1, #before + 1) == before .. ':'
  if window == 'spent' then
    finish(key, now, owned_entry, claimed_until, window, expires)
    return false
  end
  if died_answering then
    redis.call('HSET', key, 'window', 'open', 'repeated', 1)
    redis.call('HDEL', key, 'holder')
    list_window(id, chat, opened, expires, now)
  end
  redis.call('XCLAIM', stream, group, replica, 0, entry, 'JUSTID')
  redis.call('HSET', key, 'owner', token)
  if not owned_entry then
    -- Redis evicted the record, which it was not to do; the callback is still there, without its window.
    redis.call('HSET', key, 'entry', entry, 'until', claim)
  end
  return true
end

-- What is taken is bounded in bytes as well: an answer that does not arrive in time takes nothing over.
local room_bytes = 262144

local taken = {}
for _, waiting in ipairs(pending) do
  local entry, before = waiting[1], waiting[2]
  local found = redis.call('XRANGE', stream, entry, entry)[1]
  if not found then
    redis.call('XACK', stream, group, entry)
  else
    local kept = found[2]
    if take(kept[2], entry, before) then
      taken[#taken + 1] = {kept[2], kept[4], kept[6], kept[8]}
      room_bytes = room_bytes - #kept[8]
      if room_bytes <= 0 then break end
    end
  end
end

-- Consumers of processes long gone; one that lives comes back with its next message.
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  if consumer[4] == 0 and consumer[6] > 10 * silent_ms then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer[2])
  end
end
return answer(unpack(taken))
