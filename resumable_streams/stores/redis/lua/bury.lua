#!lua flags=allow-oom
-- bury: holder, keep -> 1 if nothing of it is left, else 0
-- KEYS: dying, judged, held and telling of the holder. It is remembered as judged for a day, in
-- case it was only frozen.
if redis.call('EXISTS', KEYS[3], KEYS[4]) > 0 then return 0 end
if redis.call('ZREM', KEYS[1], ARGV[1]) == 1 then
  local time = now()
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', time - 86400000)
  redis.call('ZADD', KEYS[2], time, ARGV[1])
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return 1
