#!lua
-- Notes the slots of a worker: RunStore.enlist, as MemoryRunStore.enlist.
-- with: integers clock
-- KEYS: workers, a hash of '<slots>:<lapse, Unix ms>'
-- ARGV: now, worker, slots, for how many ms
-- Returns the slots of all workers.

local now_ms = math.floor(clock(ARGV[1]) * 1000)
local slots, lapse_ms = integers(3, 4)
redis.call('HSET', KEYS[1], ARGV[2], digits(slots) .. ':' .. digits(now_ms + lapse_ms))
local sum, latest = 0, now_ms
local workers = redis.call('HGETALL', KEYS[1])
for place = 1, #workers, 2 do
  local count, lapse = string.match(workers[place + 1], '^(%d+):(%d+)$')
  lapse = tonumber(lapse or 0)
  if lapse > now_ms then
    sum, latest = sum + tonumber(count), math.max(latest, lapse)
  else
    redis.call('HDEL', KEYS[1], workers[place])
  end
end
-- The last to lapse takes the key along.
redis.call('PEXPIRE', KEYS[1], digits(latest - now_ms))
return sum
