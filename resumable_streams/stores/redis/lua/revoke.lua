#!lua flags=allow-oom
-- revoke: keep, events channel -> the mark
-- KEYS[1] is the mark of one owner; it outlives every stream it revokes. It only grows: streams are
-- compared with it by the mark that they were acquired under, whatever the clock does. Whoever calls
-- it announces it on the channel.
need('PUBLISH', ARGV[2], '')
local mark = math.max(now(), (tonumber(redis.call('GET', KEYS[1])) or 0) + 1)
redis.call('SET', KEYS[1], string.format('%.0f', mark), 'PX', ARGV[1])
return mark
