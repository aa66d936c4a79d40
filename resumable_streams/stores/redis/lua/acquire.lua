-- acquire: claim, epoch, owner, ttl, finished_ttl, lease, grace, wait, attrs -> {elected, state}
-- Elects the first caller and binds owner, TTL and attributes in the same step.
local time = now()
if status_now(time) then
  -- A caller whose first answer was lost holds the claim already.
  local elected = redis.call('HGET', meta, 'claim') == ARGV[1] and 1 or 0
  return {elected, describe(time)}
end
-- A lease ends when nobody may take the stream over any more, so the grace is part of it.
local lease = ARGV[6] + ARGV[7]
need('DEL', log)
need('PEXPIRE', log, 1)
need('APPEND', log, '') -- or its producer could write nothing
need('$PUBLISH', log, '')
-- First, as a full server refuses it; a log may be left from a state that was evicted alone.
redis.call('HSET', meta, 'claim', ARGV[1], 'epoch', ARGV[2], 'owner', ARGV[3], 'ttl', ARGV[4],
  'finished_ttl', ARGV[5], 'lease_ms', lease, 'grace', ARGV[7], 'attrs', ARGV[9],
  'lease', time + math.max(lease, tonumber(ARGV[8])),
  'created', time, 'status', 'streaming', 'size', 0, 'entries', 0, 'error_code', '', 'error', '')
redis.call('DEL', log)
redis.call('PEXPIRE', meta, ARGV[4])
return {1, describe(time)}
