#!lua flags=allow-oom
-- Lets a run wait for its next attempt: RunStore.requeue, as MemoryRunStore.requeue.
-- with: integers clock runs/leases runs/queue runs/bell
-- KEYS: record, log, ready, turns, leases
-- ARGV: now, id, fence, shard, how long it may wait in ms, how long to keep the record in ms
-- Returns 1, or 0 where nothing was changed because the run is not the caller's.

local id, shard = ARGV[2], ARGV[4]
local queue_ms, kept_ms = integers(5, 6)
local run = redis.call('HMGET', KEYS[1], 'status', 'fence')
local queued = run[1] == 'queued'
if run[2] ~= ARGV[3] or not (queued or run[1] == 'in_progress') then
  return 0
end
if queued and redis.call('ZSCORE', KEYS[3], id) then
  return 1
end
redis.call('HSET', KEYS[1], 'status', 'queued', 'tail', '0')
redis.call('DEL', KEYS[2])
set_due(KEYS[1], KEYS[5], id, math.floor(clock(ARGV[1]) * 1000) + queue_ms, kept_ms)
rejoin_queue(KEYS[3], KEYS[4], id, kept_ms)
ring('jobs', shard)
ring(id)
return 1
