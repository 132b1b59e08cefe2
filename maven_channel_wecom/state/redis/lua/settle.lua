#!lua flags=allow-oom
-- Finishes a message, or releases it unless it may have been answered. Does nothing once another has taken it over.
local token, id, released, now = ARGV[1], ARGV[2], ARGV[3] == '1', tonumber(ARGV[4])

local key = message_key(id)
local owner, entry, claim, window, expires, chat =
  unpack(redis.call('HMGET', key, 'owner', 'entry', 'until', 'window', 'expires', 'chat'))
if owner == token then
  if released and window ~= 'claimed' and window ~= 'spent' then
    drop_entry(entry)
    if window then unlist_window(id, chat) end
    redis.call('DEL', key)
  else
    finish(key, now, entry, claim, window, expires)
  end
end
return answer()
