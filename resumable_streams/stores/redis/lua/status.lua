-- status -> state; of a missing stream a decoy (`DECOY` in store.py), whose status is 'missing'
-- The decoy takes as long, here and where it is read, as the state of a stream: how long an answer
-- takes must not tell a stream of somebody else from one that is not there.
if status_now() then return describe() end
describe()
return {$DECOY, 1, now()}
