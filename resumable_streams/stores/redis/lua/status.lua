-- status -> state; of a missing stream a decoy, which says 'missing' where the status is
-- The decoy takes as long, here and where it is read, as the state of a stream: how long an answer
-- takes must not tell a stream of somebody else from one that is not there.
local time = now()
if status_now(time) then return describe(time) end
describe(time)
local number = tostring(time)
return {'00000000', '=decoy:0', 'missing', '0', '0', number, number, '', '', '{"format": "raw"}', 1, time}
