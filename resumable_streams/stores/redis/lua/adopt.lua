#!lua flags=allow-oom
-- adopt: teller, member, keep -> 1, or 0 if the teller is not alive
-- KEYS: processes, telling of the teller
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
