#!lua flags=allow-oom
-- take: holder, lease, keep -> {held members, telling members}, or nil if it is not to be taken
-- KEYS: processes, waiting, dying, held and telling of the holder. The deadline in `dying` is that of
-- whoever takes over: if that one dies, too, another one follows.
local time, taken = now(), false
for i = 1, 3 do
  local deadline = redis.call('ZSCORE', KEYS[i], ARGV[1])
  if deadline and tonumber(deadline) < time then
    redis.call('ZREM', KEYS[i], ARGV[1])
    taken = true
  end
end
if not taken then return nil end
redis.call('ZADD', KEYS[3], time + ARGV[2], ARGV[1])
for i = 3, 5 do redis.call('PEXPIRE', KEYS[i], ARGV[3]) end
return {redis.call('SMEMBERS', KEYS[4]), redis.call('SMEMBERS', KEYS[5])}
