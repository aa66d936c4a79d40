-- What every script shares. KEYS[1] is the state (HASH), KEYS[2] the byte log (STRING), which is
-- also the push channel. A script runs as a whole or not at all: there is no state in between to
-- describe. For that it asks for the right to push, and does what a full server refuses, before its
-- first write: nothing is undone when a later one fails. Scripts that free, revoke or end something run
-- on a full server, too (`allow-oom`). Those that only look have no header: a server that cannot
-- persist, or lacks replicas, refuses every script that has one.
-- Times are milliseconds of the server's clock, the only clock there is.

local meta, log = KEYS[1], KEYS[2]

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Fail before anything is written, unless this user may run the command on a key or channel.
local function need(command, name, ...)
  local may = redis.acl_check_cmd -- since Redis 7.0
  if may and not may(command, name, ...) then
    local what = string.sub(command, -7) == 'PUBLISH' and 'channels' or 'keys'
    error({err = 'NOPERM no permission to run ' .. command .. ' on the ' .. what .. ' of this prefix'})
  end
end

-- Fail before anything is written, unless this user may do all that a producer does. It is asked
-- once, by whoever takes a claim: what it costs is much beside an append, and little beside that.
local function need_to_produce()
  need('HSET', meta, '', '')
  need('PEXPIRE', log, 1)
  need('APPEND', log, '')
  need('$PUBLISH', log, '')
end

-- End the stream. The state is the truth, the message only a hint to look at it.
-- PEXPIRE goes first: a full server refuses what comes first, and HSET only then.
local function finish(status, code, message)
  need('$PUBLISH', log, '')
  local ttl = redis.call('HGET', meta, 'finished_ttl')
  redis.call('PEXPIRE', meta, ttl)
  redis.call('PEXPIRE', log, ttl)
  redis.call('HSET', meta, 'status', status, 'error_code', code, 'error', message)
  redis.call('$PUBLISH', log, '!')
end

-- Return a field of the state; nil if it is missing, or if the key holds something else.
local function field(name)
  local value = redis.pcall('HGET', meta, name)
  if type(value) ~= 'table' then return value or nil end
  if string.sub(value.err, 1, 9) ~= 'WRONGTYPE' then error(value) end
  return nil
end

-- Return the status of the stream, nil if it is missing.
local function status_now()
  return redis.call('HGET', meta, 'status') or nil
end

-- Return what a slot names; nil if that is nothing.
local function occupant(slot)
  local held = redis.call('HMGET', slot, 'epoch', 'id', 'started', 'since')
  if not held[1] then return nil end
  return {held[1], held[2], held[3] == '1' and 1 or 0, now() - held[4]}
end

-- Whether the stream is the incarnation the caller means; '' means any.
local function is_epoch(epoch)
  return epoch == '' or field('epoch') == epoch
end

-- Return the state; `State` in store.py names its values, and fills in those of the HASH.
local function describe()
  local state = redis.call('HMGET', meta, $STATE)
  table.insert(state, redis.call('PTTL', meta))
  table.insert(state, now())
  return state
end
