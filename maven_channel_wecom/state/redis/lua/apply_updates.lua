#!lua flags=allow-oom
-- Applies updates in order. ARGV: for each update its kind, a token, an id and now. The id is that of a message, of
-- `fetched` and `close` that of a stream.
-- An update may run twice. Except for `spend`, it changes nothing once another replica has taken the message over.

local function end_message(token, id, now)
  if redis.call('HGET', message_key(id), 'owner') == token then finish(id, now) end
end

-- A window is spent regardless of which replica reports it.
local function spend(id, now)
  local key = message_key(id)
  local window, chat, owner = unpack(redis.call('HMGET', key, 'window', 'chat', 'owner'))
  if not window then return end
  if window == 'open' then unlist_window(id, chat) end
  redis.call('HSET', key, 'window', 'spent')
  redis.call('HDEL', key, 'url', 'holder')
  if not owner then finish(id, now) end
end

-- Only the claim that holds a window can open it again.
local function restore(holder, id, now, repeated)
  local key = message_key(id)
  local window, held_by, chat, opened, expires =
    unpack(redis.call('HMGET', key, 'window', 'holder', 'chat', 'opened', 'expires'))
  if window ~= 'claimed' or held_by ~= holder then return end
  redis.call('HSET', key, 'window', 'open')
  if repeated then redis.call('HSET', key, 'repeated', 1) end
  redis.call('HDEL', key, 'holder')
  list_window(id, chat, opened, expires, now)
end

-- Undoes a claim whose answer was lost. If the claim itself arrives only later, it finds the empty note.
local function abandon(holder, id, now)
  local note = note_key(holder)
  if id == '' then id = redis.call('GET', note) or '' end
  if id ~= '' then restore(holder, id, now) end
  redis.call('SET', note, '', 'PX', note_ms)
end

-- Lets a message be taken over at once because the answer to its admission was lost and no replica works on it.
local function give_up(token, id)
  local owner, entry = unpack(redis.call('HMGET', message_key(id), 'owner', 'entry'))
  if owner == token then give_up_entry(token:match('^(.*):'), entry) end
end

-- Records that a refresh got the last frame of a stream. A replica may confirm its own frame before it has stored it.
local function confirm_fetch(id, now)
  local message, last, fetched = unpack(redis.call('HMGET', stream_key(id), 'message', 'last', 'fetched'))
  if not message then return end
  if not fetched then redis.call('HSET', stream_key(id), 'fetched', now) end
  if last == 'answer' and redis.call('HGET', message_key(message), 'stream') == id then
    redis.call('HSET', message_key(message), 'answered', 1)
  end
end

local function apply(kind, token, id, time)
  local now = tonumber(time)
  if kind == 'finish' then end_message(token, id, now)
  elseif kind == 'spend' then spend(id, now)
  elseif kind == 'restore' then restore(token, id, now)
  elseif kind == 'restore_repeated' then restore(token, id, now, true)
  elseif kind == 'abandon' then abandon(token, id, now)
  elseif kind == 'give_up' then give_up(token, id)
  elseif kind == 'fetched' then confirm_fetch(id, now)
  elseif kind == 'close' then close_stream(id, token)
  end
end

return answer_each(4, apply)
