#!lua flags=allow-oom
-- Shows that a replica lives and works on the messages named (id, token, ...), those that are still its own.
-- ARGV: replica, silent_ms, whether it gives them up instead, to be taken over at once (1 or 0), then the messages.
local replica, silent_ms, idle_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1' and given_up_ms or 0

-- A key of another type would refuse every admission, and nothing would report it before the next one.
local kind = redis.call('TYPE', stream).ok
if kind ~= 'stream' and kind ~= 'none' then return redis.error_reply('WRONGTYPE the stream is a ' .. kind) end

steady_pulse(silent_ms)
for i = 4, #ARGV, 2 do
  local owner, entry = unpack(redis.call('HMGET', message_key(ARGV[i]), 'owner', 'entry'))
  if owner == ARGV[i + 1] then
    redis.call('XCLAIM', stream, group, replica, 0, entry, 'IDLE', idle_ms, 'JUSTID')
  end
end
return answer()
