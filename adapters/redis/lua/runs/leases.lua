-- Leases: a run is overdue from 'due' in its record on, in Unix ms. The index of its shard repeats that, for those who
-- look for runs that are overdue.

local function set_due(record, leases, id, due, kept_ms)
  redis.call('HSET', record, 'due', digits(due))
  redis.call('PEXPIRE', record, digits(kept_ms))
  redis.call('ZADD', leases, digits(due), id)
  redis.call('PEXPIRE', leases, digits(kept_ms))
end

-- A run and what it takes to execute it, as Claim.
local function claim(record, request)
  return {redis.call('HGETALL', record), redis.call('GET', request)}
end
