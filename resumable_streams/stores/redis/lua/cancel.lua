#!lua flags=allow-oom
-- cancel: events channel, epoch or '' -> state or nil
-- The hint reaches the producer's process, which does not watch its own streams.
local time = now()
local status = status_now(time)
if not status or not is_epoch(ARGV[2]) then return nil end
if status == 'streaming' then
  need('PUBLISH', ARGV[1], '')
  finish('cancelled', '', '')
  redis.call('PUBLISH', ARGV[1], log)
end
return describe(time)
