-- Put before every script: the keys of one channel, and what more than one script does with them.
-- All keys share the hash tag {channel}, so a channel lives in one slot. Only the stream is passed in KEYS; the others
-- are derived from what is read, which is allowed because they are in the same slot.
--
-- message:<id>   hash: until (the claim's end); in progress: owner (token of the admission or take-over), entry; with a
--                window: window (open, claimed, spent), holder (token of the claim), chat, sender, url, opened,
--                expires, repeated
-- unfinished     stream with the group `replicas`: the callbacks in progress (id, chat, received, message), each
--                pending at the replica that works on it
-- chat:<chat>    sorted set: the open windows of a chat, newest last
-- windows        sorted set: all open windows by their end, to count them and to drop expired ones a few at a time
-- pulse          hash: when any replica was last heard (last), and since when without a gap (since), in ms
-- note:<token>   what the step with this token did, for a repeat of it: the id of the window it claimed as a string,
--                empty when that claim was abandoned; the stream entries it took over as a list
--
-- A chat is a chat key, single:<id> or group:<id>. Versions before chat keys wrote the id alone, in the record and in
-- chat:<id>: such a window is a single chat's if the id is its sender's, and otherwise a group's. It is claimed from
-- there, so nothing is migrated. A stream entry has a `chat` only because those versions read it.
local stream, group = KEYS[1], 'replicas'
local prefix = stream:sub(1, -#'unfinished' - 1)
local windows = prefix .. 'windows'

-- Keys outlive what they hold by this much: expiry is decided by the caller's clock, Redis only tidies up.
local margin_ms = 60000

-- Longer than any caller repeats a step.
local note_ms = 600000

-- An idle time that marks what was given up; no replica can be silent for that long (a hundred days).
local given_up_ms = 8640000000

local function message_key(id) return prefix .. 'message:' .. id end
local function chat_key(chat) return prefix .. 'chat:' .. chat end
local function note_key(token) return prefix .. 'note:' .. token end

local function keep_until(key, ends, now)
  redis.call('PEXPIRE', key, math.ceil((ends - now) * 1000) + margin_ms)
end

-- Returns the kind and the id of a chat key.
local function kind_and_id(chat) return chat:match('^(%l+):(.*)$') end

-- Returns whether a window with these fields belongs to a chat.
local function is_of_chat(chat, of_chat, sender)
  if of_chat == chat then return true end
  local kind, id = kind_and_id(chat)
  return id ~= nil and of_chat == id and (kind == 'single') == (sender == id)
end

-- Returns what a pcall failed of: a text, or a table that holds it, as the version of Redis has it.
local function text_of(failure) return type(failure) == 'table' and failure.err or failure end

-- How many windows a script found expired and unspent.
local expired_windows = 0

-- Lists a window among those to claim; one that is over counts as expired instead.
local function list_window(id, chat, opened, expires, now)
  if tonumber(expires) <= now then
    expired_windows = expired_windows + 1
    return
  end
  redis.call('ZADD', chat_key(chat), opened, id)
  redis.call('ZADD', windows, expires, id)
  local ends_in_ms = math.ceil((tonumber(expires) - now) * 1000) + margin_ms
  -- About once a minute, and not with every window of the chat.
  if redis.call('PTTL', chat_key(chat)) < ends_in_ms then
    redis.call('PEXPIRE', chat_key(chat), ends_in_ms + margin_ms)
    -- Windows live equally long: those opened a lifetime before this one have expired.
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

-- What every script answers with: how many windows are open, how many it found expired, then its own results.
local function answer(...) return {redis.call('ZCARD', windows), expired_windows, ...} end

local function drop_entry(entry)
  redis.call('XACK', stream, group, entry)
  redis.call('XDEL', stream, entry)
end

-- Leaves of a message its claim, and a window that a reply may still go through. All but the first two arguments are
-- fields of its record.
local function finish(key, now, entry, claim, window, expires)
  if entry then drop_entry(entry) end
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

-- Records a sign of life; returns whether replicas were heard without a gap for `silent_ms`. When Redis itself was
-- frozen, cut off or had its clock set, no replica could show that it lives: all get that long to show it before any
-- counts as dead. A script that was sent before a freeze and runs after it finds the gap too, and takes nothing over.
local function steady_pulse(silent_ms)
  local time = redis.call('TIME')
  local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  local last, since = unpack(redis.call('HMGET', prefix .. 'pulse', 'last', 'since'))
  last, since = tonumber(last or 0), tonumber(since or 0)
  if now_ms < last or now_ms - last > silent_ms / 2 then since = now_ms end
  redis.call('HSET', prefix .. 'pulse', 'last', now_ms, 'since', since)
  return now_ms - since >= silent_ms
end
