-- put: order, most, keep -> 1, or 0 if so many are waiting already
-- KEYS[1] is the queue. It expires some time after its last order, which outlives no stream that it
-- could be for by much.
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
need('PEXPIRE', KEYS[1], 1)
redis.call('XADD', KEYS[1], '*', 'order', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
