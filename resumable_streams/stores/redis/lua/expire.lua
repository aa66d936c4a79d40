#!lua flags=allow-oom
-- expire: ttl -> 1 if it was there, else 0
-- Both numbers change with the keys, or the next append would undo it.
if redis.call('PEXPIRE', meta, ARGV[1]) == 0 then return 0 end
redis.call('PEXPIRE', log, ARGV[1])
redis.call('HSET', meta, 'ttl', ARGV[1], 'finished_ttl', ARGV[1])
return 1
