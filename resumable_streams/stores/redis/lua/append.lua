-- append: claim, offset, max_bytes, max_entries, chunks, data -> the new size, or {code, value}
-- One HMGET on the way in, one HSET on the way out: this is the hot path.
local state = redis.call('HMGET', meta, 'claim', 'status', 'size', 'entries', 'ttl', 'epoch')
if not state[1] then
  redis.call('$PUBLISH', log, '!') -- evicted, say: readers elsewhere would not learn it
  return {'missing'}
end
if state[1] ~= ARGV[1] then return {'claim'} end
if state[2] ~= 'streaming' then
  return {'final', state[2], redis.call('HGET', meta, 'error_code') or ''}
end
local size, offset, data = tonumber(state[3]), tonumber(ARGV[2]), ARGV[6]
if offset > size then return {'gap', size} end
if offset < size then data = string.sub(data, size - offset + 1) end
if data == '' then
  redis.call('PEXPIRE', meta, state[5])
  redis.call('PEXPIRE', log, state[5])
  return size
end
need('$PUBLISH', log, '')
local new_size, entries = size + #data, state[4] + ARGV[5]
local max_bytes, max_entries = tonumber(ARGV[3]), tonumber(ARGV[4])
if max_bytes and new_size > max_bytes then return {'limit', 'MAX_STREAM_BYTES'} end
if max_entries and entries > max_entries then return {'limit', 'MAX_ENTRIES_PER_STREAM'} end
if redis.call('APPEND', log, data) ~= new_size then
  -- The log was evicted under a state that stayed: bytes would land at wrong offsets.
  redis.call('DEL', log)
  finish('error', 'data_lost', '')
  return {'final', 'error', 'data_lost'}
end
redis.call('HSET', meta, 'size', new_size, 'entries', entries)
redis.call('PEXPIRE', meta, state[5])
redis.call('PEXPIRE', log, state[5])
redis.call('$PUBLISH', log, state[6] .. size .. ':' .. data)
return new_size
