#!lua flags=allow-oom
-- announce: hint, most entries, keep -> 1
-- KEYS: news
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'hint', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
