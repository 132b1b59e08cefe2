#!lua
-- Claims a message, opens its window and keeps its callback. The same call sent again finds its own token: admitted.
local replica, token, id, chat, received, message, claim, now = unpack(ARGV, 1, 8)
local sender, url, opened, expires = unpack(ARGV, 9, 12)
now = tonumber(now)

local key = message_key(id)
local owner, claimed_until = unpack(redis.call('HMGET', key, 'owner', 'until'))
if owner == token then return answer(1) end
if owner or tonumber(claimed_until or 0) > now then return answer(0) end
if claimed_until then redis.call('DEL', key) end
drop_expired_windows(now, 4)

local entry = redis.call('XADD', stream, '*', 'id', id, 'chat', chat, 'received', received, 'message', message)
-- Names the entry, which reading "the next one" would not, and moves nothing back through Lua. LASTID marks it as delivered.
local taken = redis.pcall('XCLAIM', stream, group, replica, 0, entry, 'FORCE', 'JUSTID', 'LASTID', entry)
if taken.err then
  redis.call('XGROUP', 'CREATE', stream, group, 0)
  redis.call('XCLAIM', stream, group, replica, 0, entry, 'FORCE', 'JUSTID', 'LASTID', entry)
end
if not url then
  redis.call('HSET', key, 'owner', token, 'entry', entry, 'until', claim)
else
  redis.call('HSET', key, 'owner', token, 'entry', entry, 'until', claim, 'window', 'open', 'chat', chat,
    'sender', sender, 'url', url, 'opened', opened, 'expires', expires, 'repeated', 0)
  list_window(id, chat, opened, expires, now)
end
return answer(1)
