#!lua flags=allow-oom
-- done: group, ticket -> 1 if the order was there
-- KEYS[1] is the queue.
need('XDEL', KEYS[1], ARGV[2])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return redis.call('XDEL', KEYS[1], ARGV[2])
