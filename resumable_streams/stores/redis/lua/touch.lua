#!lua flags=allow-oom
-- touch: claim -> 1 while the claim is held, else 0
-- A quiet producer is still producing: it keeps its keys.
local state = redis.call('HMGET', meta, 'claim', 'status', 'ttl')
if state[1] ~= ARGV[1] or state[2] ~= 'streaming' then return 0 end
redis.call('PEXPIRE', meta, state[3])
redis.call('PEXPIRE', log, state[3])
return 1
