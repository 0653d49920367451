#!lua flags=allow-oom
-- Tells a run's owner to cancel it: RunStore.cancel, as MemoryRunStore.cancel.
-- with: integers clock runs/leases runs/leave runs/bell
-- KEYS: record, request, ready, turns, leases
-- ARGV: now, id, the lease in ms, how long to keep the record in ms
-- Returns the record's fields and values, and the work, of a run that was waiting; 'shared' for one that others follow,
--   which stays as it is; nil for any other.

local id = ARGV[2]
local lease_ms, kept_ms = integers(3, 4)
local run = redis.call('HMGET', KEYS[1], 'status', 'fence', 'followers')
if run[1] ~= 'queued' and run[1] ~= 'in_progress' then
  return nil
end
if (run[3] or '0') ~= '0' then
  return 'shared'
end
redis.call('HSET', KEYS[1], 'cancelling', '1')
redis.call('PEXPIRE', KEYS[1], digits(kept_ms))
ring('cancels', id)
if run[1] ~= 'queued' then
  return nil
end
leave_queue(KEYS[3], KEYS[4], id)
local now_ms = math.floor(clock(ARGV[1]) * 1000)
redis.call('HSET', KEYS[1], 'status', 'in_progress', 'fence', next_fence(integer(run[2]), now_ms))
set_due(KEYS[1], KEYS[5], id, now_ms + lease_ms, kept_ms)
return claim(KEYS[1], KEYS[2])
