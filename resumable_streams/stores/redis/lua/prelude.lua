-- What every script shares. KEYS[1] is the state (HASH), KEYS[2] the byte log (STRING), which is
-- also the push channel. A script runs as a whole or not at all: there is no state in between to
-- describe. Times are milliseconds of the server's clock, the only clock there is.

local meta, log = KEYS[1], KEYS[2]

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- End the stream. The state is the truth, the message only a hint to look at it.
local function finish(status, code, message)
  redis.call('HSET', meta, 'status', status, 'error_code', code, 'error', message)
  local ttl = redis.call('HGET', meta, 'finished_ttl')
  redis.call('PEXPIRE', meta, ttl)
  redis.call('PEXPIRE', log, ttl)
  redis.call('$PUBLISH', log, '!')
end

-- Return the state of the stream, nil if it is missing. A streaming one whose lease ran out
-- becomes `producer_lost` first, so nobody ever sees a dead producer as alive.
local function status_now(time)
  local state = redis.call('HMGET', meta, 'status', 'lease')
  if state[1] == 'streaming' and tonumber(state[2]) <= time then
    finish('error', 'producer_lost', '')
    return 'error'
  end
  return state[1] or nil
end

-- Whether the stream is the incarnation the caller means; '' means any.
local function is_epoch(epoch)
  return epoch == '' or redis.call('HGET', meta, 'epoch') == epoch
end

local function describe(time)
  local row = redis.call('HMGET', meta, 'epoch', 'owner', 'status', 'size', 'entries', 'created',
    'lease', 'error_code', 'error', 'attrs')
  row[11] = redis.call('PTTL', meta)
  row[12] = time
  return row
end
