-- backlog: group, milliseconds -> {orders, those of them that are with a worker, age of the oldest
--   that is not, workers that were here in these milliseconds}
-- KEYS: orders
local orders, group = KEYS[1], ARGV[1]
if redis.call('EXISTS', orders) == 0 then return {0, 0, 0, 0} end
local taken, workers, after = 0, 0, '-'

-- Return a list of names and values, in turns, as a table.
local function named(list)
  local found = {}
  for i = 1, #list, 2 do found[list[i]] = list[i + 1] end
  return found
end

for _, each in ipairs(redis.call('XINFO', 'GROUPS', orders)) do
  local one = named(each)
  if one.name == group then
    taken, after = one.pending, '(' .. one['last-delivered-id']
    for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', orders, group)) do
      if named(consumer).idle <= tonumber(ARGV[2]) then workers = workers + 1 end
    end
  end
end
local age, first = 0, redis.call('XRANGE', orders, after, '+', 'COUNT', 1)[1]
if first then age = math.max(0, now() - tonumber(string.match(first[1], '^%d+'))) end
return {redis.call('XLEN', orders), taken, age, workers}
