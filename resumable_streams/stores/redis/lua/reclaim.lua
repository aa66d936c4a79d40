-- reclaim: held claim, new claim -> {code, state}
-- Hands the stream to a new producer: from the holder of the claim, or when that has been silent
-- for a lease and the grace to replace it is not over. Whoever held it before appends nothing more.
local time = now()
local status = status_now(time)
if not status then return {'missing'} end
if status ~= 'streaming' then return {'final', status} end
local state = redis.call('HMGET', meta, 'claim', 'lease', 'lease_ms', 'grace')
local silent = tonumber(state[2]) - tonumber(state[4]) <= time
if state[1] ~= ARGV[1] and not silent then return {'claim'} end
redis.call('HSET', meta, 'claim', ARGV[2], 'lease', time + state[3])
return {'ok', describe(time)}
