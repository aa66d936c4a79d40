#!lua flags=allow-oom
-- told: member -> 1
-- KEYS: telling of the teller
return redis.call('SREM', KEYS[1], ARGV[1])
