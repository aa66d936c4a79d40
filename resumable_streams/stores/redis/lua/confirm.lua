#!lua flags=allow-oom
-- confirm: claim -> 1 if the election still stands, else 0
if redis.call('HGET', meta, 'claim') ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', meta, redis.call('HGET', meta, 'ttl'))
return 1
