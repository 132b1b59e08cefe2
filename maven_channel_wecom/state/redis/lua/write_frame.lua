#!lua
-- Stores the newest frame of a stream. It changes nothing if the stream has ended or is another admission's, if a newer
-- frame is stored, or if a replica gave out the last one or may be doing so.
-- ARGV: id of the stream, token of its message, number of the frame, content, last (as in the record).
local id, token, number, content, last = unpack(ARGV)

local key = stream_key(id)
local owner, stored, stored_last, fetched = unpack(redis.call('HMGET', key, 'owner', 'number', 'last', 'fetched'))
if owner ~= token or tonumber(stored or 0) >= tonumber(number) then return answer() end
local is_last = stored_last and stored_last ~= ''
if is_last and (fetched or is_reserved(id)) then return answer() end
redis.call('HSET', key, 'number', number, 'content', content, 'last', last)
return answer()
