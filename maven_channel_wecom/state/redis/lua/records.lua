-- Precedes every script: the keys of a channel, and the functions that several scripts use.
-- All keys share the hash tag {channel}, so a channel is in one slot. Only `unfinished` is passed in KEYS; the other
-- keys are derived from data, which Redis allows because they are in the same slot.
--
-- message:<id>   hash: until (end of the claim); if in progress: owner (token of the admission or take-over), entry; if
--                it has a window: window (open, claimed, spent), holder (token of the claim), chat, sender, url,
--                opened, expires, repeated; if its acknowledgement opened a stream: stream (its id), answered (1 if the
--                stream's last frame was fetched and is the answer)
-- stream:<id>    hash: owner (token of the admission), message (its id) and chat; of the newest frame: number, content,
--                last (empty; of a last frame: `answer`, or `sentence` if the stream ends before the answer); of a last
--                frame: reserved (until when it may be on its way, in ms of Redis's clock), fetched (when)
-- unfinished     Redis stream with the group `replicas`: the callbacks in progress (id, chat, received, message), each
--                pending at its replica
-- chat:<chat>    sorted set: the open windows of a chat, newest last
-- windows        sorted set: all open windows by expiry, to count them and to remove expired ones a few at a time
-- pulse          hash: time of the last heartbeat of any replica (last), and since when there was no gap (since), in ms
-- note:<token>   result of the call with this token, for a repeat of it. Of a claim: a string, the message id whose
--                window was claimed, empty if the claim was abandoned. Of a take-over: a list of stream entries
--
-- A chat is a chat key, single:<id> or group:<id>. Versions before chat keys stored the bare id, in the record and in
-- chat:<id>: such a window belongs to a single chat if the id is that of its sender, otherwise to a group. It is
-- claimed as it is, without a migration. A stream entry has the field `chat` only because those versions read it.
local unfinished, group = KEYS[1], 'replicas'
local prefix = unfinished:sub(1, -#'unfinished' - 1)
local windows = prefix .. 'windows'

-- Keys outlive their contents by this time: the caller's clock decides what has expired, and Redis only cleans up.
local margin_ms = 60000

-- As long as a window lasts: while Redis is unavailable, the undoing of a claim waits, and finds its window by the
-- note.
local note_ms = 3600000 + margin_ms

-- Idle time that marks an entry as given up. It is longer than any replica can be silent (a hundred days).
local given_up_ms = 8640000000

local function message_key(id) return prefix .. 'message:' .. id end
local function chat_key(chat) return prefix .. 'chat:' .. chat end
local function stream_key(id) return prefix .. 'stream:' .. id end
local function note_key(token) return prefix .. 'note:' .. token end

local function keep_until(key, ends, now)
  redis.call('PEXPIRE', key, math.ceil((ends - now) * 1000) + margin_ms)
end

-- Returns the time in ms. Unlike the clocks of the replicas, it is the same for all of them.
local function clock_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Returns the kind and the id of a chat key.
local function kind_and_id(chat) return chat:match('^(%l+):(.*)$') end

-- Returns whether a window with these fields belongs to a chat.
local function is_of_chat(chat, of_chat, sender)
  if of_chat == chat then return true end
  local kind, id = kind_and_id(chat)
  return id ~= nil and of_chat == id and (kind == 'single') == (sender == id)
end

-- Returns the text of a pcall's error, which is a string or a table, depending on the version of Redis.
local function text_of(failure) return type(failure) == 'table' and failure.err or failure end

-- Number of windows that the script found expired and unspent.
local expired_windows = 0

-- Adds a window to the open ones, or counts it as expired if it is.
local function list_window(id, chat, opened, expires, now)
  if tonumber(expires) <= now then
    expired_windows = expired_windows + 1
    return
  end
  redis.call('ZADD', chat_key(chat), opened, id)
  redis.call('ZADD', windows, expires, id)
  local ends_in_ms = math.ceil((tonumber(expires) - now) * 1000) + margin_ms
  -- Because of the second margin, this runs about once a minute and not for every window of the chat.
  if redis.call('PTTL', chat_key(chat)) < ends_in_ms then
    redis.call('PEXPIRE', chat_key(chat), ends_in_ms + margin_ms)
    -- All windows have the same lifetime: those opened one lifetime before this one have expired.
    redis.call('ZREMRANGEBYSCORE', chat_key(chat), '-inf', 2 * tonumber(opened) - tonumber(expires))
  end
end

local function unlist_window(id, chat)
  redis.call('ZREM', chat_key(chat), id)
  return redis.call('ZREM', windows, id)
end

local function drop_expired_windows(now, most)
  local expired = redis.call('ZRANGEBYSCORE', windows, '-inf', now, 'LIMIT', 0, most)
  if #expired > 0 then expired_windows = expired_windows + redis.call('ZREM', windows, unpack(expired)) end
end

-- Returns the answer of a script: the number of open windows, the number it found expired, then its own results.
local function answer(...) return {redis.call('ZCARD', windows), expired_windows, ...} end

-- Calls a function with each group of `size` arguments, and answers with what it returns, 0 for nothing.
local function answer_each(size, apply)
  local results = {}
  for i = 1, #ARGV, size do
    local done, result = pcall(apply, unpack(ARGV, i, i + size - 1))
    if not done then
      local text = text_of(result)
      -- A record damaged by hand must not prevent the other calls.
      if not text:find('^WRONGTYPE') and not text:find('^user_script') then return redis.error_reply(text) end
    end
    results[#results + 1] = done and result or 0
  end
  return answer(unpack(results))
end

local function drop_entry(entry)
  redis.call('XACK', unfinished, group, entry)
  redis.call('XDEL', unfinished, entry)
end

-- Lets an entry be taken over at once.
local function give_up_entry(replica, entry)
  redis.call('XCLAIM', unfinished, group, replica, 0, entry, 'IDLE', given_up_ms, 'JUSTID')
end

-- Returns whether a replica may be giving out the last frame of a stream at this moment.
local function is_reserved(stream)
  return tonumber(redis.call('HGET', stream_key(stream), 'reserved') or 0) > clock_ms()
end

-- Ends a stream, unless its last frame was fetched or may be on its way. Returns whether it has ended, also if it had
-- before or is another admission's.
local function close_stream(id, token)
  local owner, fetched = unpack(redis.call('HMGET', stream_key(id), 'owner', 'fetched'))
  if owner ~= token then return true end
  if fetched or is_reserved(id) then return false end
  redis.call('DEL', stream_key(id))
  return true
end

-- Ends a message: only its claim remains, and its window while a reply may still be sent.
local function finish(id, now)
  local key = message_key(id)
  local entry, claim, window, chat, expires, answered =
    unpack(redis.call('HMGET', key, 'entry', 'until', 'window', 'chat', 'expires', 'answered'))
  if entry then drop_entry(entry) end
  if window == 'open' and answered then
    unlist_window(id, chat)
    window = 'spent'
  end
  local claim_ends = tonumber(claim or 0)
  local window_ends = (window == 'open' or window == 'claimed') and tonumber(expires) or 0
  if window_ends > now then
    redis.call('HDEL', key, 'owner', 'entry')
    keep_until(key, math.max(claim_ends, window_ends), now)
  else
    redis.call('DEL', key)
    if claim_ends > now then
      redis.call('HSET', key, 'until', claim)
      keep_until(key, claim_ends, now)
    end
  end
end

-- Records a heartbeat. Returns whether heartbeats have arrived without a gap for `silent_ms`. If Redis was frozen, cut
-- off or had its clock changed, no replica could send heartbeats, so all of them get that long before any counts as
-- dead. A script that was sent before a freeze and runs after it finds the gap too, and takes nothing over.
local function record_heartbeat(silent_ms)
  local now_ms = clock_ms()
  local last, since = unpack(redis.call('HMGET', prefix .. 'pulse', 'last', 'since'))
  last, since = tonumber(last or 0), tonumber(since or 0)
  if now_ms < last or now_ms - last > silent_ms / 2 then since = now_ms end
  redis.call('HSET', prefix .. 'pulse', 'last', now_ms, 'since', since)
  return now_ms - since >= silent_ms
end
