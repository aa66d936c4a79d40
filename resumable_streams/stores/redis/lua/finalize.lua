#!lua flags=allow-oom
-- finalize: claim, status, error_code, error, size -> {code, state} or {'gap', size}
-- The first end stays; the holder of the claim may ask again and learns what it was.
local status = status_now()
if not status then return {'missing'} end
if redis.call('HGET', meta, 'claim') ~= ARGV[1] then return {'claim'} end
if status == 'streaming' then
  local size = tonumber(redis.call('HGET', meta, 'size'))
  if tonumber(ARGV[5]) > size then return {'gap', size} end
  if ARGV[2] == 'done' and redis.call('STRLEN', log) ~= size then
    finish('error', 'data_lost', '') -- the log was evicted under a state that stayed
  else
    finish(ARGV[2], ARGV[3], ARGV[4])
  end
end
return {'ok', describe()}
