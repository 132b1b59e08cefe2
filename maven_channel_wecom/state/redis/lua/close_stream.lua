#!lua flags=allow-oom
-- Ends a stream. Returns 0 and changes nothing if its last frame was fetched or may be on its way, otherwise 1, also if
-- the stream has ended already or is another admission's. ARGV: id of the stream, token of its message.
return answer(close_stream(ARGV[1], ARGV[2]) and 1 or 0)
