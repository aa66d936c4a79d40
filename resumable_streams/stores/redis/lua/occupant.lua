-- occupant: -> {epoch, stream id, 1 if it has started, age}, or nil
-- KEYS: the slot
return occupant(KEYS[1])
