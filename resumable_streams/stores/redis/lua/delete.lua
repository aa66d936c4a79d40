#!lua flags=allow-oom
-- delete: events channel, epoch or '' -> {1 if it was there, 1 if it was streaming, epoch, owner, slot}
-- Whoever calls it announces the end of a streaming one, which has a producer to stop.
if not is_epoch(ARGV[2]) then return {0, 0, '', '', ''} end
local streaming = field('status') == 'streaming' and 1 or 0
need('$PUBLISH', log, '')
if streaming == 1 then need('PUBLISH', ARGV[1], '') end
local whose = {field('epoch') or '', field('owner') or '', field('slot') or ''}
local found = redis.call('UNLINK', meta, log)
if found > 0 then redis.call('$PUBLISH', log, '!') end
return {found > 0 and 1 or 0, streaming, whose[1], whose[2], whose[3]}
