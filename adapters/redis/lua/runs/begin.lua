#!lua
-- Keeps the record of a new run: RunStore.begin, as MemoryRunStore.begin.
-- KEYS: record, then the pointer of the conversation where the run has one
-- ARGV: how long to keep the record in ms, the same for the pointer, id, then the record's fields and values
-- Returns 'OK', for a run that is known already as well.

if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 4))
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  if KEYS[2] then
    redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
  end
end
return 'OK'
