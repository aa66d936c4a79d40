-- read: first byte, last byte -> {state, bytes} or nil
local time = now()
if not status_now(time) then return nil end
return {describe(time), redis.call('GETRANGE', log, ARGV[1], ARGV[2])}
