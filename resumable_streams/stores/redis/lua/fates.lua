-- fates: holders… -> for each 'living', 'ending' or 'unknown'
-- KEYS: processes, waiting, dying
local time, answer = now(), {}
for i, holder in ipairs(ARGV) do
  local deadline = redis.call('ZSCORE', KEYS[1], holder)
  local fate = 'unknown'
  if deadline and tonumber(deadline) >= time then
    fate = 'living'
  elseif deadline or redis.call('ZSCORE', KEYS[2], holder) or redis.call('ZSCORE', KEYS[3], holder)
  then
    fate = 'ending'
  end
  answer[i] = fate
end
return answer
