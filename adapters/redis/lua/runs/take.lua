#!lua
-- Claims the run whose turn it is: RunStore.take, as MemoryRunStore.take.
-- with: integers clock runs/leases runs/leave runs/queue
-- KEYS: ready, turns, leases; the run's own keys are known only when it is found, and are in the same slot
-- ARGV: now, the lease in ms, how long to keep the record in ms
-- Returns the record's fields and values, and the work; nil where nobody waits.

local lease_ms, kept_ms = integers(2, 3)
local tag = string.match(KEYS[1], '^{.-}:')
local id = first_in_queue(KEYS[1], KEYS[2], kept_ms)
while id do
  local record = tag .. 'record:' .. id
  local run = redis.call('HMGET', record, 'status', 'attempt', 'fence')
  if run[1] == 'queued' then
    local now_ms = math.floor(clock(ARGV[1]) * 1000)
    local attempt, fence = digits(integer(run[2]) + 1), next_fence(integer(run[3]), now_ms)
    redis.call('HSET', record, 'status', 'in_progress', 'attempt', attempt, 'fence', fence, 'begun', fence)
    set_due(record, KEYS[3], id, now_ms + lease_ms, kept_ms)
    return claim(record, tag .. 'request:' .. id)
  end
  -- Its record has lapsed.
  redis.call('ZREM', KEYS[3], id)
  id = first_in_queue(KEYS[1], KEYS[2], kept_ms)
end
return nil
