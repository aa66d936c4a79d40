#!lua flags=allow-oom
-- cancel: events channel, epoch or '' -> {1 if this ended it, state} or nil
-- Whoever calls it announces the end on the channel: the producer's process does not watch its own
-- streams. Whether it may is asked before anything is written.
local status = status_now()
if not status or not is_epoch(ARGV[2]) then return nil end
local ended = 0
if status == 'streaming' then
  need('PUBLISH', ARGV[1], '')
  finish('cancelled', '', '')
  ended = 1
end
return {ended, describe()}
