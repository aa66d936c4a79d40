#!lua flags=allow-oom
-- park: holder, member, wait, keep -> 1
-- KEYS: waiting, held of the holder. A stream waits under a name of its own, with a deadline, as if
-- that were a process; so whoever takes over dead processes ends what was waited for in vain.
redis.call('ZADD', KEYS[1], now() + ARGV[3], ARGV[1])
redis.call('SADD', KEYS[2], ARGV[2])
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[4]) end
return 1
