-- reserve: member, limit or '', keep -> 1 if it counts (again), 0 if the limit is reached
-- KEYS: a ZSET of live streams by when they were counted last; of an owner, also the index of all
-- that may be there, in the same hash slot. Whoever tells the end of one takes it out of the first; a
-- producer counts a long one again; what is older was left by a failover that forgot that. After a
-- death here the process that takes over tells the end.
local time = now()
for _, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', time - ARGV[3])
end
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  local limit = tonumber(ARGV[2])
  if limit and redis.call('ZCARD', KEYS[1]) >= limit then return 0 end
end
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, time, ARGV[1])
  redis.call('PEXPIRE', key, ARGV[3], 'NX')
  redis.call('PEXPIRE', key, ARGV[3], 'GT')
end
return 1
