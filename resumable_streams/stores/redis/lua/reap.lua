#!lua flags=allow-oom
-- reap: epoch, holder, heir or '', by or '' -> state, nil if this incarnation is gone
-- Ends what a dead process held, in the name of `by`, or hands it to an heir.
if not is_epoch(ARGV[1]) then return nil end
local state = redis.call('HMGET', meta, 'status', 'holder')
if state[1] == 'streaming' and state[2] == ARGV[2] then
  need('$PUBLISH', log, '')
  if ARGV[3] ~= '' then
    redis.call('HSET', meta, 'holder', ARGV[3])
  else
    if ARGV[4] ~= '' then redis.call('HSET', meta, 'holder', ARGV[4]) end
    finish('error', 'producer_lost', '')
  end
end
return describe()
