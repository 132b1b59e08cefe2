#!lua
-- Claims messages, opens their windows and streams and stores their callbacks, atomically for each message. Returns 1
-- for a new message and 0 for a claimed one. A repeated call finds its own token in the records and returns the same.
-- ARGV: replica, token, end of the claims, end of the streams, now; then for each message id, received, message, id of
-- its stream, text of its stream, chat, sender, url, opened, expires. The last five are empty if it has no window. A
-- message without a window has no stream either.
local replica, token, claim, streams_end, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local per_message = 10

-- Entry 0-1 never exists; claiming it checks that there is a group and that XCLAIM is permitted, before an entry is
-- added. Likewise for the commands that undo an admission, as Redis has no rollback, and for the one of the answer.
redis.call('XACK', unfinished, group, '0-1')
redis.call('XDEL', unfinished, '0-1')
redis.call('ZREM', windows, '')
redis.call('DEL', note_key(''))
redis.call('ZCARD', windows)
local claimed = redis.pcall('XCLAIM', unfinished, group, replica, 0, '0-1', 'JUSTID')
if claimed.err and not claimed.err:find('NOGROUP', 1, true) then return claimed end
if claimed.err then redis.call('XGROUP', 'CREATE', unfinished, group, 0, 'MKSTREAM') end

drop_expired_windows(now, math.max(4, 2 * (#ARGV - 5) / per_message))

local function open_stream(id, stream, text, chat)
  redis.call('HSET', message_key(id), 'stream', stream)
  redis.call('HSET', stream_key(stream), 'owner', token, 'message', id, 'chat', chat, 'content', text)
  keep_until(stream_key(stream), streams_end, now)
end

local function record(key, entry, id, stream, text, chat, sender, url, opened, expires)
  -- XREADGROUP would assign the next undelivered entry, which may be another one. LASTID marks this one as delivered.
  redis.call('XCLAIM', unfinished, group, replica, 0, entry, 'FORCE', 'JUSTID', 'LASTID', entry)
  if chat == '' then
    redis.call('HSET', key, 'owner', token, 'entry', entry, 'until', claim)
    return
  end
  redis.call('HSET', key, 'owner', token, 'entry', entry, 'until', claim, 'window', 'open', 'chat', chat,
    'sender', sender, 'url', url, 'opened', opened, 'expires', expires, 'repeated', 0)
  list_window(id, chat, opened, expires, now)
  if stream ~= '' then open_stream(id, stream, text, chat) end
end

-- Returns 1 or 0, or nil and an error.
local function admit(id, received, message, stream, text, chat, ...)
  local key = message_key(id)
  local owner, claimed_until = unpack(redis.call('HMGET', key, 'owner', 'until'))
  if owner == token then return 1 end
  if owner or tonumber(claimed_until or 0) > now then return 0 end
  if claimed_until then redis.call('DEL', key, stream_key(stream)) end
  local entry = redis.call('XADD', unfinished, '*', 'id', id, 'chat', chat, 'received', received, 'message', message)
  local done, failure = pcall(record, key, entry, id, stream, text, chat, ...)
  if done then return 1 end
  -- The user may lack the permission for any one of the commands.
  redis.pcall('XACK', unfinished, group, entry)
  redis.pcall('XDEL', unfinished, entry)
  redis.pcall('DEL', key, stream_key(stream))
  redis.pcall('ZREM', chat_key(chat), id)
  redis.pcall('ZREM', windows, id)
  return nil, text_of(failure)
end

local results = {}
for i = 6, #ARGV, per_message do
  local result, failure = admit(unpack(ARGV, i, i + per_message - 1))
  if not result then return redis.error_reply(failure) end
  results[#results + 1] = result
end
return answer(unpack(results))
