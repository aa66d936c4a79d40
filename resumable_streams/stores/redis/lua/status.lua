-- status -> state; of a missing stream a decoy, which says 'missing' where the status is
-- The decoy takes as long, here and where it is read, as the state of a stream: how long an answer
-- takes must not tell a stream of somebody else from one that is not there.
if status_now() then return describe() end
describe()
local number = tostring(now())
return {'00000000', '=decoy:0', 'missing', '0', '0', number, '00000000', '0', '0', '', '',
  '{"format": "raw"}', 1, now()}
