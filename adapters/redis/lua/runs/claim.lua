#!lua
-- Moves a queued run to in_progress: RunStore.claim, as MemoryRunStore.claim.
-- KEYS: record
-- ARGV: how long to keep the record in ms
-- Returns the record's fields and values, or nil where the run is not queued.

if redis.call('HGET', KEYS[1], 'status') ~= 'queued' then
  return nil
end
redis.call('HSET', KEYS[1], 'status', 'in_progress')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('HGETALL', KEYS[1])
