#!lua flags=allow-oom
-- move: teller, member, keep, holder -> 1 for the one who is to tell, else 0
-- KEYS: processes, held and telling of the holder, telling of the teller (the holder itself, or
-- whoever took it over)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end -- judged: somebody else tells
-- Nobody tells for a process that lives.
if ARGV[1] ~= ARGV[4] and redis.call('ZSCORE', KEYS[1], ARGV[4]) then return 0 end
local found = redis.call('SREM', KEYS[2], ARGV[2])
if KEYS[3] ~= KEYS[4] then found = found + redis.call('SREM', KEYS[3], ARGV[2]) end
-- A caller whose first answer was lost has it already.
if found == 0 then return redis.call('SISMEMBER', KEYS[4], ARGV[2]) end
redis.call('SADD', KEYS[4], ARGV[2])
redis.call('PEXPIRE', KEYS[4], ARGV[3])
return 1
