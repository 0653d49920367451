-- Leaving the queue of a shard, apart from the rest of it because whatever a script is made of costs it time.

-- Where nobody waits, no tenant has had a turn.
local function forget_turns(ready, turns)
  if redis.call('EXISTS', ready) == 1 then
    return
  end
  local now, left_ms = redis.call('HGET', turns, ':now'), redis.call('PTTL', turns)
  redis.call('DEL', turns)
  if now and left_ms > 0 then
    redis.call('HSET', turns, ':now', now)
    redis.call('PEXPIRE', turns, left_ms)
  end
end

local function leave_queue(ready, turns, id)
  if redis.call('ZREM', ready, id) == 1 then
    forget_turns(ready, turns)
  end
end
