#!lua flags=allow-oom
-- delete: events channel, epoch or '' -> 1 if it was there, else 0
-- The hint stops the producer; only a streaming one has any, so a purge of old streams is quiet.
if not is_epoch(ARGV[2]) then return 0 end
local status = field('status')
need('$PUBLISH', log, '')
if status == 'streaming' then need('PUBLISH', ARGV[1], '') end
local found = redis.call('UNLINK', meta, log)
if found > 0 then redis.call('$PUBLISH', log, '!') end
if status == 'streaming' then redis.call('PUBLISH', ARGV[1], log) end
return found > 0 and 1 or 0
