#!lua flags=allow-oom
-- revoke: keep, events channel, tenant -> time of the mark
-- KEYS[1] is the mark of one owner; it outlives every stream it revokes.
local time = now()
need('PUBLISH', ARGV[2], '')
redis.call('SET', KEYS[1], time, 'PX', ARGV[1])
redis.call('PUBLISH', ARGV[2], '@' .. ARGV[3])
return time
