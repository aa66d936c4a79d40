-- status -> state or nil
local time = now()
if not status_now(time) then return nil end
return describe(time)
