-- reclaim: held claim, new claim, epoch, holder, silent holder or '', deaths -> {code, state}
-- Hands the stream to a new producer: from the holder of the claim, or from one that is known to be
-- dead. Whoever held it before appends nothing more.
local status = status_now()
if not status or not is_epoch(ARGV[3]) then return {'missing'} end
if status ~= 'streaming' then return {'final', status, ''} end
need_to_produce()
local state = redis.call('HMGET', meta, 'claim', 'holder', 'ttl', 'size', 'deaths', 'died_at')
-- A caller whose first answer was lost holds the new claim already.
if state[1] ~= ARGV[1] and state[1] ~= ARGV[2] then
  if ARGV[5] == '' or state[2] ~= ARGV[5] then return {'claim'} end
  local deaths = state[6] == state[4] and tonumber(state[5]) + 1 or 1
  if deaths >= tonumber(ARGV[6]) then
    finish('error', 'producer_lost', '')
    return {'final', 'error', 'producer_lost'}
  end
  redis.call('HSET', meta, 'deaths', deaths, 'died_at', state[4])
end
redis.call('HSET', meta, 'claim', ARGV[2], 'holder', ARGV[4])
redis.call('PEXPIRE', meta, state[3])
redis.call('PEXPIRE', log, state[3])
redis.call('$PUBLISH', log, '!') -- readers know the process that held it before
return {'ok', describe()}
