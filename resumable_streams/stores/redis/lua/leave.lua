#!lua flags=allow-oom
-- leave: process -> 1 if it was forgotten, 0 if it holds something still
-- KEYS: processes, held and telling of the process
if redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
