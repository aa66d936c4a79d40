-- acquire: claim, epoch, owner, ttl, finished_ttl, pending, grace, seen_mark, holder, attrs,
--   slot -> {elected, state}
-- Elects the first caller and binds owner, TTL and attributes in the same step. An election that
-- is not confirmed evaporates: nobody answers for what dies between the two.
if status_now() then
  -- A caller whose first answer was lost holds the claim already.
  local elected = redis.call('HGET', meta, 'claim') == ARGV[1] and 1 or 0
  return {elected, describe()}
end
need('DEL', log)
need_to_produce()
-- First, as a full server refuses it; a log may be left from a state that was evicted alone.
redis.call('HSET', meta, 'claim', ARGV[1], 'epoch', ARGV[2], 'owner', ARGV[3], 'ttl', ARGV[4],
  'finished_ttl', ARGV[5], 'grace', ARGV[7], 'seen', ARGV[8], 'holder', ARGV[9],
  'attrs', ARGV[10], 'slot', ARGV[11], 'created', now(), 'status', 'streaming', 'size', 0, 'entries', 0,
  'error_code', '', 'error', '')
redis.call('DEL', log)
redis.call('PEXPIRE', meta, ARGV[6])
return {1, describe()}
