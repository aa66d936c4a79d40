-- reclaim: held claim, new claim, epoch, deaths -> {code, state}
-- Hands the stream to a new producer: from the holder of the claim, or when that has been silent
-- for a lease and the grace to replace it is not over. Whoever held it before appends nothing more.
local time = now()
local status = status_now(time)
if not status or not is_epoch(ARGV[3]) then return {'missing'} end
if status ~= 'streaming' then return {'final', status} end
need('$PUBLISH', log, '')
local state = redis.call('HMGET', meta, 'claim', 'lease', 'lease_ms', 'grace', 'ttl', 'size',
  'deaths', 'died_at')
-- A caller whose first answer was lost holds the new claim already.
if state[1] ~= ARGV[1] and state[1] ~= ARGV[2] then
  if tonumber(state[2]) - tonumber(state[4]) > time then return {'claim'} end
  local deaths = state[8] == state[6] and tonumber(state[7]) + 1 or 1
  if deaths >= tonumber(ARGV[4]) then
    finish('error', 'producer_lost', '')
    return {'final', 'error'}
  end
  redis.call('HSET', meta, 'deaths', deaths, 'died_at', state[6])
end
redis.call('HSET', meta, 'claim', ARGV[2], 'lease', time + state[3])
redis.call('PEXPIRE', meta, state[5])
redis.call('PEXPIRE', log, state[5])
redis.call('$PUBLISH', log, '!') -- readers know of the lease that went before, which may be long
return {'ok', describe(time)}
