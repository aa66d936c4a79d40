#!lua flags=allow-oom
-- settle: epoch, stream id, keep -> 1, or 0 if the slot is another's
-- KEYS: the slot. An empty one was lost by the store. After a death here the slot names a stream
-- that is taken over as any other, and is free once that has ended.
local held = redis.call('HGET', KEYS[1], 'epoch')
if held and held ~= ARGV[1] then return 0 end
if not held then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'id', ARGV[2], 'since', now())
end
redis.call('HSET', KEYS[1], 'started', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
