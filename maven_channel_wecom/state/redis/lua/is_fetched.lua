#!lua flags=allow-oom
-- Returns for each stream 1 if a refresh got its last frame, otherwise 0. ARGV: ids of streams.
return answer_each(1, function(id) return redis.call('HGET', stream_key(id), 'fetched') and 1 or 0 end)
