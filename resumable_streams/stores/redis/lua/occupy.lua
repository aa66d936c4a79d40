-- occupy: epoch, stream id, seen epoch or '', seen start ('1' or ''), keep -> the occupant, or nil
-- KEYS: the slot. Compares the start, too: what has started since the look is not pushed out. After
-- a death here the slot names an epoch that never starts, and comes free after a lease.
local held = redis.call('HMGET', KEYS[1], 'epoch', 'started')
if (held[1] or '') == ARGV[3] and (held[2] or '') == ARGV[4] then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'id', ARGV[2], 'since', now(), 'started', '')
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
return occupant(KEYS[1])
