-- read: first byte, last byte -> {state, bytes} or nil
if not status_now() then return nil end
return {describe(), redis.call('GETRANGE', log, ARGV[1], ARGV[2])}
