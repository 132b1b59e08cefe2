#!lua flags=allow-oom
-- Gives up a message so that it can be taken over, or finishes it if it was answered. Returns 0 and changes nothing if
-- its window is claimed or its last frame may be on its way, otherwise 1. ARGV: replica, token of the message, its id,
-- now.
local replica, token, id, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local owner, entry, window, stream, answered =
  unpack(redis.call('HMGET', message_key(id), 'owner', 'entry', 'window', 'stream', 'answered'))
if owner ~= token then return answer(1) end
if window == 'claimed' then return answer(0) end
if window == 'spent' or answered then
  finish(id, now)
elseif stream and is_reserved(stream) then
  return answer(0)
else
  give_up_entry(replica, entry)
end
return answer(1)
