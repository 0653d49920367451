#!lua flags=allow-oom
-- Adds entries to a run's log and may end it: RunStore.append, as MemoryRunStore.append.
-- with: integers
-- KEYS: record, log, result
-- ARGV: attempt, base, how long to keep record and result in ms, the same for the log, the states that this may happen
--   in (separated by spaces), then the new status, usage, charged, error and completion ('' where there is none; all of
--   them '' without an ending), then the entries
-- Returns 1, or 0 where nothing was changed because the call does not fit the run.

local FIRST = 11
local attempt, base, kept_ms, log_ms = integers(1, 4)
local status, usage, charged, failure, completion = unpack(ARGV, 6, 10)
local run = redis.call('HMGET', KEYS[1], 'status', 'attempt', 'tail', 'usage', 'charged', 'error')
local tail = integer(run[3])
if not tail or integer(run[2]) ~= attempt or base > tail then
  return 0
end

local known = tail - base
local count = math.max(#ARGV - FIRST + 1 - known, 0)
if not string.find(' ' .. ARGV[5] .. ' ', ' ' .. run[1] .. ' ', 1, true) then
  -- A repeated ending brings nothing new.
  local same = status == run[1] and usage == run[4] and charged == run[5] and failure == run[6]
  return same and count == 0 and 1 or 0
end

for place = 1, count do
  local id = digits(attempt) .. '-' .. digits(tail + place)
  redis.call('XADD', KEYS[2], id, 'd', ARGV[FIRST + known + place - 1])
end
redis.call('HSET', KEYS[1], 'tail', digits(tail + count))
redis.call('PEXPIRE', KEYS[1], digits(kept_ms))
redis.call('PEXPIRE', KEYS[2], digits(log_ms))
if status ~= '' then
  redis.call('HSET', KEYS[1], 'status', status, 'usage', usage, 'charged', charged, 'error', failure)
  if completion ~= '' then
    redis.call('SET', KEYS[3], completion, 'PX', digits(kept_ms))
  end
end
return 1
