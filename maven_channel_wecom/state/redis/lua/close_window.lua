#!lua flags=allow-oom
-- Spends a claimed window, or opens it again. A window spent is a fact, whoever tells it; restoring takes its holder.
local holder, id, spent, now = ARGV[1], ARGV[2], ARGV[3] == '1', tonumber(ARGV[4])

local key = message_key(id)
local window, held_by, chat, opened, expires, owner, entry, claim =
  unpack(redis.call('HMGET', key, 'window', 'holder', 'chat', 'opened', 'expires', 'owner', 'entry', 'until'))
if window and spent then
  if window == 'open' then unlist_window(id, chat) end
  redis.call('HSET', key, 'window', 'spent')
  redis.call('HDEL', key, 'url', 'holder')
  if not owner then finish(key, now, entry, claim, 'spent', expires) end
elseif window == 'claimed' and held_by == holder then
  redis.call('HSET', key, 'window', 'open')
  redis.call('HDEL', key, 'holder')
  list_window(id, chat, opened, expires, now)
end
return answer()
