#!lua flags=allow-oom
-- Ends a stream. Returns 0 and changes nothing if its last frame was fetched or may be on its way, otherwise 1, also if
-- the stream has ended already or is another admission's. ARGV: id of the stream, token of its message.
local id, token = ARGV[1], ARGV[2]

local owner, fetched = unpack(redis.call('HMGET', stream_key(id), 'owner', 'fetched'))
if owner ~= token then return answer(1) end
if fetched or is_reserved(id) then return answer(0) end
redis.call('DEL', stream_key(id))
return answer(1)
