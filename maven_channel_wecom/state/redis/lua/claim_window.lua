#!lua flags=allow-oom
-- Claims the window of one message, or the newest of the chat. The same call sent again finds its own holder.
-- `owner` is the token of a caller that has the message in hand: once another took it over, the window is not its own.
local holder, owner, id, chat, spare_of, now = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])

local function claim(candidate)
  local key = message_key(candidate)
  redis.call('HSET', key, 'window', 'claimed', 'holder', holder)
  unlist_window(candidate, chat)
end

local function claimed(candidate)
  local fields = redis.call('HMGET', message_key(candidate), 'sender', 'url', 'opened', 'expires', 'repeated')
  return answer(candidate, chat, unpack(fields))
end

-- How many windows of a chat are looked at, so that no chat can keep Redis busy.
local most = 1000

if id ~= '' then
  local window, held_by, of_chat, expires, owned_by =
    unpack(redis.call('HMGET', message_key(id), 'window', 'holder', 'chat', 'expires', 'owner'))
  if window == 'claimed' and held_by == holder then return claimed(id) end
  if window == 'open' and of_chat == chat and tonumber(expires) > now and (owner == '' or owned_by == owner) then
    claim(id)
    return claimed(id)
  end
  return answer()
end

-- Only this finds a repeat: which window is the newest may have changed meanwhile. Kept for longer than anybody repeats.
local note, note_ms = prefix .. 'holder:' .. holder, 600000
local before = redis.call('GET', note)
if before and redis.call('HGET', message_key(before), 'holder') == holder then return claimed(before) end
for _, candidate in ipairs(redis.call('ZREVRANGE', chat_key(chat), 0, most - 1)) do
  local window, sender, expires, owned_by =
    unpack(redis.call('HMGET', message_key(candidate), 'window', 'sender', 'expires', 'owner'))
  if window ~= 'open' then
    unlist_window(candidate, chat)
  elseif tonumber(expires) <= now then
    expired_windows = expired_windows + unlist_window(candidate, chat)
  elseif spare_of == '' or (sender == spare_of and not owned_by) then
    claim(candidate)
    redis.call('SET', note, candidate, 'PX', note_ms)
    return claimed(candidate)
  end
end
return answer()
