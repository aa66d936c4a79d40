-- reclaim: held claim, new claim, epoch -> {code, state}
-- Hands the stream to a new producer: from the holder of the claim, or when that has been silent
-- for a lease and the grace to replace it is not over. Whoever held it before appends nothing more.
local time = now()
local status = status_now(time)
if not status or not is_epoch(ARGV[3]) then return {'missing'} end
if status ~= 'streaming' then return {'final', status} end
local state = redis.call('HMGET', meta, 'claim', 'lease', 'lease_ms', 'grace', 'ttl')
local silent = tonumber(state[2]) - tonumber(state[4]) <= time
-- A caller whose first answer was lost holds the new claim already.
if state[1] ~= ARGV[1] and state[1] ~= ARGV[2] and not silent then return {'claim'} end
redis.call('HSET', meta, 'claim', ARGV[2], 'lease', time + state[3])
redis.call('PEXPIRE', meta, state[5])
redis.call('PEXPIRE', log, state[5])
return {'ok', describe(time)}
