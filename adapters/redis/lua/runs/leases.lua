-- Leases: a run is overdue from 'due' in its record on, in Unix ms. The index of its shard repeats that, for those who
-- look for runs that are overdue.

local function set_due(record, leases, id, due, kept_ms)
  redis.call('HSET', record, 'due', digits(due))
  redis.call('PEXPIRE', record, digits(kept_ms))
  redis.call('ZADD', leases, digits(due), id)
  redis.call('PEXPIRE', leases, digits(kept_ms))
end

-- The fence of a new owner: more than the last one, and never that of an owner whom a Redis forgot that lost its last
-- writes, by a restart or a failover.
local function next_fence(fence, now_ms)
  return digits(math.max(fence + 1, now_ms))
end

-- A run and what it takes to execute it, as Claim.
local function claim(record, request)
  return {redis.call('HGETALL', record), redis.call('GET', request)}
end
