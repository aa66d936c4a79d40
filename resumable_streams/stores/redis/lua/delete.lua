-- delete: events channel, epoch or '' -> 1 if it was there, else 0
-- The hint stops the producer; only a streaming one has any, so a purge of old streams is quiet.
if not is_epoch(ARGV[2]) then return 0 end
local status = redis.call('HGET', meta, 'status')
local found = redis.call('UNLINK', meta, log)
if found > 0 then redis.call('$PUBLISH', log, '!') end
if status == 'streaming' then redis.call('PUBLISH', ARGV[1], log) end
return found > 0 and 1 or 0
