#!lua flags=allow-oom
-- Adds entries to a run's log and may end it: RunStore.append, as MemoryRunStore.append.
-- with: integers clock runs/leases runs/leave runs/bell
-- KEYS: record, log, leases, and with an ending: request, result, ready, turns
-- ARGV: now, id, fence, base, the lease in ms, how long to keep record and result in ms, the same for the log of a run
--   that has ended, the states that this may happen in (separated by spaces), then the new status, usage, charged,
--   error and completion ('' where there is none; all of them '' without an ending), then who answers: provider, model,
--   how often was asked (all of them '' where nothing is new), then the entries
-- Returns what Standing calls it, and the number of the last entry.

local FIRST = 17
local id, status = ARGV[2], ARGV[9]
local run = redis.call('HMGET', KEYS[1], 'status', 'fence', 'attempt', 'tail', 'due', 'cancelling')
if not run[1] then
  return {'unknown', 0}
end
local base, tail = integers(4, 4), tonumber(run[4])
if run[2] ~= ARGV[3] then
  return {'lost', tail}
end
if base > tail then
  return {'behind', tail}
end

local owned = run[6] == '1' and 'cancelling' or 'owned'
local known = tail - base
local count = math.max(#ARGV - FIRST + 1 - known, 0)
-- No state's name is a part of another's.
if not string.find(ARGV[8], run[1], 1, true) then
  -- A repeated ending brings nothing new.
  local first = redis.call('HMGET', KEYS[1], 'usage', 'charged', 'error')
  local same = status == run[1] and count == 0
  for place = 1, 3 do
    same = same and (first[place] or '') == ARGV[9 + place]
  end
  return {same and owned or 'lost', tail}
end

if ARGV[14] ~= '' then
  redis.call('HSET', KEYS[1], 'provider', ARGV[14], 'model', ARGV[15], 'asked', ARGV[16])
end
for place = 1, count do
  redis.call('XADD', KEYS[2], run[3] .. '-' .. digits(tail + place), 'd', ARGV[FIRST + known + place - 1])
end
if count > 0 then
  redis.call('HSET', KEYS[1], 'tail', digits(tail + count))
end
if status ~= '' then
  local kept_ms, log_ms = integers(6, 7)
  redis.call('HSET', KEYS[1], 'status', status, 'usage', ARGV[10], 'charged', ARGV[11], 'error', ARGV[12])
  redis.call('PEXPIRE', KEYS[1], digits(kept_ms))
  redis.call('PEXPIRE', KEYS[2], digits(log_ms))
  redis.call('ZREM', KEYS[3], id)
  redis.call('DEL', KEYS[4])
  if ARGV[13] ~= '' then
    redis.call('SET', KEYS[5], ARGV[13], 'PX', digits(kept_ms))
  end
  leave_queue(KEYS[6], KEYS[7], id)
else
  local lease_ms, kept_ms = integers(5, 6)
  local now_ms = math.floor(clock(ARGV[1]) * 1000)
  -- What a renewal writes is written when a third of the lease has passed: a fast stream would do little else.
  local renewing = ((tonumber(run[5]) or 0) - now_ms) * 3 < lease_ms * 2
  if renewing then
    set_due(KEYS[1], KEYS[3], id, now_ms + lease_ms, kept_ms)
  end
  if renewing or tail == 0 then
    redis.call('PEXPIRE', KEYS[2], digits(kept_ms))
  end
end
if count > 0 or status ~= '' then
  ring(id)
end
return {owned, tail + count}
