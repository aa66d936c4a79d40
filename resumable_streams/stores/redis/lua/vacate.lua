#!lua flags=allow-oom
-- vacate: epoch -> 1 if it was the occupant, else 0
-- KEYS: the slot
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
