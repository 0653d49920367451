#!lua flags=allow-oom
-- Takes over a run that is overdue: RunStore.seize, as MemoryRunStore.seize.
-- with: integers clock runs/leases runs/leave
-- KEYS: record, request, ready, turns, leases
-- ARGV: now, id, the lease in ms, how long to keep the record in ms
-- Returns the record's fields and values, and the work; nil where the run is not overdue.

local id, now_ms = ARGV[2], math.floor(clock(ARGV[1]) * 1000)
local lease_ms, kept_ms = integers(3, 4)
local due = tonumber(redis.call('ZSCORE', KEYS[5], id) or nil)
if not due or due > now_ms then
  return nil
end
leave_queue(KEYS[3], KEYS[4], id)
local fence = integer(redis.call('HGET', KEYS[1], 'fence'))
if not fence then
  -- Its record has lapsed.
  redis.call('ZREM', KEYS[5], id)
  return nil
end
redis.call('HSET', KEYS[1], 'fence', next_fence(fence, now_ms))
set_due(KEYS[1], KEYS[5], id, now_ms + lease_ms, kept_ms)
return claim(KEYS[1], KEYS[2])
