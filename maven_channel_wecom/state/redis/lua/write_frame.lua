#!lua
-- Stores the newest frames of streams. It leaves a stream as it is if that has ended or is another admission's, if a
-- newer frame is stored, or if a replica gave out the last one or may be doing so.
-- ARGV: for each frame the id of its stream, token of its message, its number, content, last (as in the record).
local function write(id, token, number, content, last)
  local key = stream_key(id)
  local owner, stored, stored_last, fetched = unpack(redis.call('HMGET', key, 'owner', 'number', 'last', 'fetched'))
  if owner ~= token or tonumber(stored or 0) >= tonumber(number) then return end
  local is_last = stored_last and stored_last ~= ''
  if is_last and (fetched or is_reserved(id)) then return end
  redis.call('HSET', key, 'number', number, 'content', content, 'last', last)
end

return answer_each(5, write)
