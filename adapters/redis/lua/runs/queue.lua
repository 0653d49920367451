-- The queue of a shard, as FairQueue in adapters/memory/queue.py: 'ready' has the turns of the runs that wait, 'turns'
-- the last one of each tenant and, as ':now', which is no tenant's id, the present one.
-- Goes with runs/leave.

local function put_in_queue(ready, turns, id, turn, kept_ms)
  redis.call('ZADD', ready, turn, id)
  redis.call('PEXPIRE', ready, digits(kept_ms))
  redis.call('PEXPIRE', turns, digits(kept_ms))
end

-- Lets a new run wait: one turn after its tenant's last one, and not before now's.
local function join_queue(ready, turns, id, tenant, kept_ms)
  local past = redis.call('HMGET', turns, ':now', tenant)
  local turn = digits(math.max(tonumber(past[1] or 0), tonumber(past[2] or 0)) + 1)
  redis.call('HSET', turns, tenant, turn)
  put_in_queue(ready, turns, id, turn, kept_ms)
end

-- Lets a run that has waited before be among the next.
local function rejoin_queue(ready, turns, id, kept_ms)
  put_in_queue(ready, turns, id, redis.call('HGET', turns, ':now') or '0', kept_ms)
end

-- Takes the run whose turn it is, of several the first by its id; nil where nobody waits.
local function first_in_queue(ready, turns, kept_ms)
  local first = redis.call('ZPOPMIN', ready)
  if not first[1] then
    return nil
  end
  redis.call('HSET', turns, ':now', first[2])
  redis.call('PEXPIRE', turns, digits(kept_ms))
  forget_turns(ready, turns)
  return first[1]
end
