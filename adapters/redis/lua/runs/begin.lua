#!lua
-- Keeps the record of a new run: RunStore.begin, as MemoryRunStore.begin.
-- with: integers clock runs/leases runs/queue runs/bell
-- KEYS: record, request, ready, turns, leases, then the pointer of the conversation where the run has one
-- ARGV: now, id, how long to keep record and request in ms, the same for the pointer, in how many ms the run is overdue
--   ('' for a view), its tenant and its shard where it is queued ('' where it is not), the work, then the record's
--   fields and values
-- Returns 'OK', for a run that is known already as well.

local id, tenant, shard = ARGV[2], ARGV[6], ARGV[7]
local kept_ms, pointer_ms = integers(3, 4)
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 'OK'
end
redis.call('HSET', KEYS[1], unpack(ARGV, 9))
redis.call('PEXPIRE', KEYS[1], digits(kept_ms))
if KEYS[6] then
  redis.call('SET', KEYS[6], id, 'PX', digits(pointer_ms))
end
if ARGV[5] ~= '' then
  redis.call('SET', KEYS[2], ARGV[8], 'PX', digits(kept_ms))
  set_due(KEYS[1], KEYS[5], id, math.floor(clock(ARGV[1]) * 1000) + integers(5, 5), kept_ms)
end
if tenant ~= '' then
  join_queue(KEYS[3], KEYS[4], id, tenant, kept_ms)
  ring('jobs', shard)
end
return 'OK'
