#!lua flags=allow-oom
-- Returns content and last of the newest frame of a stream, or nothing if there is no open stream of this id in the
-- chat. A last frame is reserved: until the end of that time the stream cannot be closed.
-- ARGV: id of the stream, chat, time of a reservation in ms, now, time for which a fetched last frame is given again.
local id, chat, reservation_ms, now, repeat_seconds =
  ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local key = stream_key(id)
local owner, message, of_chat, content, last, fetched =
  unpack(redis.call('HMGET', key, 'owner', 'message', 'chat', 'content', 'last', 'fetched'))
if of_chat ~= chat then return answer() end
local owned_by = redis.call('HGET', message_key(message), 'owner')
if owned_by and owned_by ~= owner then
  -- A version that knows no streams has taken the message over, and answers it through its window.
  redis.call('DEL', key)
  return answer()
end
last = last or ''
if last ~= '' then
  if fetched and tonumber(fetched) + repeat_seconds <= now then return answer() end
  if not fetched then redis.call('HSET', key, 'reserved', clock_ms() + reservation_ms) end
end
return answer(content, last)
