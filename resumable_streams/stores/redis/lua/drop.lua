#!lua flags=allow-oom
-- drop: holder, member -> 1
-- KEYS: waiting, held of the holder
redis.call('SREM', KEYS[2], ARGV[2])
redis.call('ZREM', KEYS[1], ARGV[1]) -- a stream that waited, waits no longer
return 1
