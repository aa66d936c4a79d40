-- reserve: member, limit, keep -> 1 if it counts (again), 0 if the limit is reached
-- KEYS[1] is a ZSET of live streams by when they were counted. Whoever tells the end of one takes
-- it out; what outlived every stream was left by a failover that forgot that.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now() - ARGV[3])
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
  redis.call('ZADD', KEYS[1], now(), ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3], 'NX')
redis.call('PEXPIRE', KEYS[1], ARGV[3], 'GT')
return 1
