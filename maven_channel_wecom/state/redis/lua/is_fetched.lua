#!lua flags=allow-oom
-- Returns 1 if a refresh got the last frame of a stream, otherwise 0. ARGV: id of the stream.
return answer(redis.call('HGET', stream_key(ARGV[1]), 'fetched') and 1 or 0)
