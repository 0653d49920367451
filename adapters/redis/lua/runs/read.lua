#!lua flags=no-writes
-- Reads a run and a part of its log at one moment: RunStore.read, as MemoryRunStore.read.
-- with: integers
-- KEYS: record, log
-- ARGV: the number of the last entry that is not wanted, the most that are
-- Returns the record's fields and values, and the stream's entries, of the present attempt only.

local after, limit = integers(1, 2)
local attempt = redis.call('HGET', KEYS[1], 'attempt')
if not attempt then
  return nil
end
local entries = redis.call('XRANGE', KEYS[2], attempt .. '-' .. digits(after + 1), attempt, 'COUNT', digits(limit))
return {redis.call('HGETALL', KEYS[1]), entries}
