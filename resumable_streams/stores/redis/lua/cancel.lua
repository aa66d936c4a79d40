#!lua flags=allow-oom
-- cancel: events channel, epoch or '', error code -> {1 if it is cancelled, state} or nil
-- Whoever calls it announces that on the channel, also again: the first answer may have been lost,
-- and the producer's process does not watch its own streams. Whether it may is asked before anything
-- is written.
local status = status_now()
if not status or not is_epoch(ARGV[2]) then return nil end
if status == 'streaming' then
  need('PUBLISH', ARGV[1], '')
  finish('cancelled', ARGV[3], '')
  status = 'cancelled'
end
return {status == 'cancelled' and 1 or 0, describe()}
