#!lua flags=allow-oom
-- beat: process, lease, position or '', keep, most news -> {code, known, living, passed, news, gap,
--   position}; living is a list of process and milliseconds left, in turns
-- KEYS: processes, waiting, dying, judged, news, held and telling of the process
local me, position, most = ARGV[1], ARGV[3], tonumber(ARGV[5])
if redis.call('ZSCORE', KEYS[3], me) or redis.call('ZSCORE', KEYS[4], me) then return {'judged'} end
local time = now()
local known = redis.call('ZSCORE', KEYS[1], me) and 1 or 0
redis.call('ZADD', KEYS[1], time + ARGV[2], me)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[4]) end

local living = redis.call('ZRANGE', KEYS[1], time, '+inf', 'BYSCORE', 'WITHSCORES')
for i = 2, #living, 2 do living[i] = tonumber(living[i]) - time end
local passed = {}
for i = 1, 3 do
  local some = redis.call('ZRANGE', KEYS[i], '-inf', '(' .. time, 'BYSCORE', 'LIMIT', 0, 100)
  for _, holder in ipairs(some) do passed[#passed + 1] = holder end
end

-- What came since the position. A position that is not there any more was trimmed, or belongs to a
-- past that a failover undid.
local tip = redis.call('XREVRANGE', KEYS[5], '+', '-', 'COUNT', 1)
local last = tip[1] and tip[1][1] or '0-0'
local gap = position == '' or
  (position ~= '0-0' and #redis.call('XRANGE', KEYS[5], position, position) == 0)
local news = {}
if not gap then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[5], '(' .. position, '+', 'COUNT', most + 1)) do
    news[#news + 1] = entry[2][2]
  end
end
return {'ok', known, living, passed, news, (gap or #news > most) and 1 or 0, last}
