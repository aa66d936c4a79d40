#!lua flags=allow-oom
-- control: generation ('' keeps), ttl ('' keeps, 0 removes), longest_ttl, events channel, shortest life
--   -> {generation, 1 if that is news}
-- KEYS[1] is the tenant's control key. Numbers only grow. A key that says nothing but the first
-- generation expires after the last stream it could be for (`control_life`): nobody fills the store
-- with tenants that he made up. Any other is configuration and stays.
-- Who names a generation announces it, also again: the first answer may have been lost.
local control = KEYS[1]
local old = redis.call('HMGET', control, 'generation', 'longest_ttl')
local generation = math.max(tonumber(old[1]) or 1, tonumber(ARGV[1]) or 1)
local longest = math.max(tonumber(old[2]) or 0, tonumber(ARGV[3]))
local is_news = ARGV[1] ~= '' or not old[1]
if is_news then need('PUBLISH', ARGV[4], '') end
redis.call('HSET', control, 'generation', generation, 'longest_ttl', longest)
if ARGV[2] == '0' then
  redis.call('HDEL', control, 'ttl')
elseif ARGV[2] ~= '' then
  redis.call('HSET', control, 'ttl', ARGV[2])
end
if generation == 1 and not redis.call('HGET', control, 'ttl') then
  local life = math.max(tonumber(ARGV[5]), 4 * longest)
  if redis.call('PTTL', control) < life then redis.call('PEXPIRE', control, life) end
else
  redis.call('PERSIST', control)
end
return {generation, is_news and 1 or 0}
