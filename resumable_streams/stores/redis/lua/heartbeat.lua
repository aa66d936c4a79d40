#!lua flags=allow-oom
-- heartbeat: claim -> 1 while the claim is held, else 0
-- A quiet producer is still producing: it keeps its lease and its keys.
local time = now()
if status_now(time) ~= 'streaming' then return 0 end
local state = redis.call('HMGET', meta, 'claim', 'ttl', 'lease_ms')
if state[1] ~= ARGV[1] then return 0 end
redis.call('HSET', meta, 'lease', time + state[3])
redis.call('PEXPIRE', meta, state[2])
redis.call('PEXPIRE', log, state[2])
return 1
