#!lua flags=allow-oom
-- Claims the window of a message, or the newest one of the first chat that has an open window. A repeated call finds
-- its own holder. ARGV: holder, owner, id, spare_of, now, then the chats. `owner` is the token of the message if the
-- caller has it in progress; if another replica has taken the message over since, its window is not claimed.
local holder, owner, id, spare_of, now = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local chats = {unpack(ARGV, 6)}

-- Limit of the windows examined per chat, so that no chat can keep Redis busy.
local most = 1000

local function claim(candidate, of_chat)
  redis.call('HSET', message_key(candidate), 'window', 'claimed', 'holder', holder)
  unlist_window(candidate, of_chat)
end

local function claimed(candidate, chat)
  local fields = redis.call('HMGET', message_key(candidate), 'sender', 'url', 'opened', 'expires', 'repeated')
  return answer(candidate, chat, unpack(fields))
end

-- Returns the requested chat to which a window with these fields belongs; nil if there is none.
local function chat_of(of_chat, sender)
  for _, chat in ipairs(chats) do
    if is_of_chat(chat, of_chat, sender) then return chat end
  end
end

local note = redis.call('GET', note_key(holder))
if note == '' then return answer() end

if id ~= '' then
  local window, held_by, of_chat, sender, expires, owned_by =
    unpack(redis.call('HMGET', message_key(id), 'window', 'holder', 'chat', 'sender', 'expires', 'owner'))
  local chat = chat_of(of_chat, sender)
  if not chat then return answer() end
  if window == 'claimed' and held_by == holder then return claimed(id, chat) end
  if window == 'open' and tonumber(expires) > now and (owner == '' or owned_by == owner) then
    claim(id, of_chat)
    return claimed(id, chat)
  end
  return answer()
end

-- A repeated call must find its window by the note, because another window may be the newest by now.
if note then
  local held_by, of_chat, sender = unpack(redis.call('HMGET', message_key(note), 'holder', 'chat', 'sender'))
  local chat = chat_of(of_chat, sender)
  if held_by == holder and chat then return claimed(note, chat) end
end

-- Claims the newest window of `chat` in the sorted set of `listed`, and returns its message id.
local function newest(chat, listed)
  for _, candidate in ipairs(redis.call('ZREVRANGE', chat_key(listed), 0, most - 1)) do
    local window, of_chat, sender, expires, owned_by =
      unpack(redis.call('HMGET', message_key(candidate), 'window', 'chat', 'sender', 'expires', 'owner'))
    if of_chat and of_chat ~= listed then
      -- The message id was admitted again in another chat.
      redis.call('ZREM', chat_key(listed), candidate)
    elseif window ~= 'open' then
      unlist_window(candidate, listed)
    elseif tonumber(expires) <= now then
      expired_windows = expired_windows + unlist_window(candidate, listed)
    elseif is_of_chat(chat, of_chat, sender) and (spare_of == '' or (sender == spare_of and not owned_by)) then
      claim(candidate, listed)
      redis.call('SET', note_key(holder), candidate, 'PX', note_ms)
      return candidate
    end
  end
end

for _, chat in ipairs(chats) do
  local _, plain_id = kind_and_id(chat)
  local candidate = newest(chat, chat) or (plain_id and newest(chat, plain_id))
  if candidate then return claimed(candidate, chat) end
end
return answer()
