-- page: score or '+inf', member or '', most -> {member, score, …}, the newest first
-- KEYS: an index. Begins below the entry that is given. Entries of one score are met again, and
-- skipped: a page takes time in proportion to its length.
local found, skip = {}, 0
while #found < 2 * ARGV[3] do
  local some = redis.call('ZRANGE', KEYS[1], ARGV[1], '-inf', 'BYSCORE', 'REV',
    'LIMIT', skip, ARGV[3], 'WITHSCORES')
  if #some == 0 then break end
  for i = 1, #some, 2 do
    local is_after = tonumber(some[i + 1]) ~= tonumber(ARGV[1]) or some[i] < ARGV[2]
    if is_after and #found < 2 * ARGV[3] then
      found[#found + 1] = some[i]
      found[#found + 1] = some[i + 1]
    end
  end
  skip = skip + #some / 2
end
return found
