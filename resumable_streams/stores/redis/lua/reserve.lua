-- reserve: member, limit, lease -> 1 if it counts (again), 0 if the limit is reached
-- KEYS[1] is a ZSET of live streams by the end of their lease: a crash frees its place by itself.
local time = now()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', time)
if not redis.call('ZSCORE', KEYS[1], ARGV[1])
  and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], time + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
