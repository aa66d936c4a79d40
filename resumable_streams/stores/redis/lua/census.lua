-- census: -> {names of living processes, number of dying ones, names of what waits}
-- KEYS: processes, dying, waiting
return {
  redis.call('ZRANGE', KEYS[1], now(), '+inf', 'BYSCORE'),
  redis.call('ZCARD', KEYS[2]),
  redis.call('ZRANGE', KEYS[3], 0, -1)
}
