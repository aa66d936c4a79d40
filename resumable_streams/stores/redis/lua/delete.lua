-- delete: events channel, epoch or '' -> 1 if it was there, else 0
if not is_epoch(ARGV[2]) then return 0 end
local found = redis.call('UNLINK', meta, log)
if found > 0 then
  redis.call('$PUBLISH', log, '!')
  redis.call('PUBLISH', ARGV[1], log)
end
return found > 0 and 1 or 0
