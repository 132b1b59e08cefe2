#!lua flags=allow-oom
-- Records a heartbeat of a replica, and confirms those of the given messages that it still owns.
-- Returns 1 if Redis removes keys when its memory is full, otherwise 0. ARGV: replica, silent_ms, whether to give the
-- messages up instead, to be taken over at once (1 or 0), then the id and the token of each message.
local replica, silent_ms, idle_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1' and given_up_ms or 0

-- A key of another type makes every admission fail. Without this check, only the next admission would report it.
local kind = redis.call('TYPE', unfinished).ok
if kind ~= 'stream' and kind ~= 'none' then return redis.error_reply('WRONGTYPE the stream is a ' .. kind) end

record_heartbeat(silent_ms)
for i = 4, #ARGV, 2 do
  local owner, entry = unpack(redis.call('HMGET', message_key(ARGV[i]), 'owner', 'entry'))
  if owner == ARGV[i + 1] then
    redis.call('XCLAIM', unfinished, group, replica, 0, entry, 'IDLE', idle_ms, 'JUSTID')
  end
end

-- A user without permission for INFO gets no warning.
local info = redis.pcall('INFO', 'memory')
if type(info) ~= 'string' then return answer(0) end
local limit, policy = info:match('maxmemory:(%d+)'), info:match('maxmemory_policy:([%w-]+)')
return answer((limit ~= '0' and policy ~= 'noeviction') and 1 or 0)
