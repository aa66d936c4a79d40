-- count: by tenant ('1' or '') -> {tenant, how many members, …} of all sets; '' stands for all tenants
-- KEYS: held of any number of holders
local found, answer = {}, {}
for _, key in ipairs(KEYS) do
  if ARGV[1] == '' then
    found[''] = (found[''] or 0) + redis.call('SCARD', key)
  else
    for _, member in ipairs(redis.call('SMEMBERS', key)) do
      local tenant = string.match(member, '^[^:]*')
      found[tenant] = (found[tenant] or 0) + 1
    end
  end
end
for tenant, number in pairs(found) do
  answer[#answer + 1] = tenant
  answer[#answer + 1] = number
end
return answer
