#!lua
-- Counts one more follower: RunStore.join, as MemoryRunStore.join.
-- with: integers
-- KEYS: record, result
-- ARGV: how long to keep both in ms
-- Returns the record's fields and values, nil where there is no such run.

local kept_ms = integers(1, 1)
if redis.call('EXISTS', KEYS[1]) == 0 then
  return nil
end
redis.call('HINCRBY', KEYS[1], 'followers', 1)
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, digits(kept_ms))
end
return redis.call('HGETALL', KEYS[1])
