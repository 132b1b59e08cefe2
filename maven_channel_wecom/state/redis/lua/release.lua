#!lua flags=allow-oom
-- Gives up a message so that it can be taken over, or finishes it if its window is spent. Returns 0 and changes nothing
-- if its window is claimed, otherwise 1. ARGV: replica, token of the message, its id, now.
local replica, token, id, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local key = message_key(id)
local owner, entry, claim, window, expires =
  unpack(redis.call('HMGET', key, 'owner', 'entry', 'until', 'window', 'expires'))
if owner ~= token then return answer(1) end
if window == 'claimed' then return answer(0) end
if window == 'spent' then
  finish(key, now, entry, claim, window, expires)
else
  give_up_entry(replica, entry)
end
return answer(1)
