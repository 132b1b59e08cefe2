#!lua
-- Claims messages, opens their windows and stores their callbacks: each all or nothing. Answers 1 for a new message and
-- 0 for another. The same call sent again finds its own token in the records, and answers the same.
-- ARGV: replica, token, the end of the claims, now; then of each message its id, received, message, chat, sender, url,
-- opened, expires, the last five empty if it has no window.
local replica, token, claim, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

-- Names no entry that exists: makes sure that there is a group, and that entries can be claimed, before one is added.
local claimed = redis.pcall('XCLAIM', stream, group, replica, 0, '0-1', 'JUSTID')
if claimed.err and not claimed.err:find('NOGROUP', 1, true) then return claimed end
if claimed.err then redis.call('XGROUP', 'CREATE', stream, group, 0, 'MKSTREAM') end

drop_expired_windows(now, math.max(4, (#ARGV - 4) / 4))

local function record(key, entry, id, chat, sender, url, opened, expires)
  -- Names the entry, which reading "the next one" would not. LASTID marks it as delivered.
  redis.call('XCLAIM', stream, group, replica, 0, entry, 'FORCE', 'JUSTID', 'LASTID', entry)
  if chat == '' then
    redis.call('HSET', key, 'owner', token, 'entry', entry, 'until', claim)
    return
  end
  redis.call('HSET', key, 'owner', token, 'entry', entry, 'until', claim, 'window', 'open', 'chat', chat,
    'sender', sender, 'url', url, 'opened', opened, 'expires', expires, 'repeated', 0)
  list_window(id, chat, opened, expires, now)
end

-- Returns 1 or 0, or nothing and the error that stopped it.
local function admit(id, received, message, chat, ...)
  local key = message_key(id)
  local owner, claimed_until = unpack(redis.call('HMGET', key, 'owner', 'until'))
  if owner == token then return 1 end
  if owner or tonumber(claimed_until or 0) > now then return 0 end
  if claimed_until then redis.call('DEL', key) end
  local entry = redis.call('XADD', stream, '*', 'id', id, 'chat', chat, 'received', received, 'message', message)
  local done, failure = pcall(record, key, entry, id, chat, ...)
  if done then return 1 end
  -- Redis rolls nothing back, and a user may be denied any one command.
  redis.pcall('XACK', stream, group, entry)
  redis.pcall('XDEL', stream, entry)
  redis.pcall('DEL', key)
  redis.pcall('ZREM', chat_key(chat), id)
  redis.pcall('ZREM', windows, id)
  return nil, text_of(failure)
end

local results = {}
for i = 5, #ARGV, 8 do
  local result, failure = admit(unpack(ARGV, i, i + 7))
  if not result then return redis.error_reply(failure) end
  results[#results + 1] = result
end
return answer(unpack(results))
