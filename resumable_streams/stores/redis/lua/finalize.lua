-- finalize: claim, status, error_code, error -> {code, state}
-- The first end stays; the holder of the claim may ask again and learns what it was.
local time = now()
local status = status_now(time)
if not status then return {'missing'} end
if redis.call('HGET', meta, 'claim') ~= ARGV[1] then return {'claim'} end
if status == 'streaming' then finish(ARGV[2], ARGV[3], ARGV[4]) end
return {'ok', describe(time)}
