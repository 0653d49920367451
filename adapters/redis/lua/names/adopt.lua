#!lua
-- Gives a name to a run: RunNames.adopt, as MemoryRunNames.adopt.
-- with: integers
-- KEYS: name, whose value is '<run>:<fingerprint>'
-- ARGV: the value, the run that it may be taken from ('' for none), for how many ms
-- Returns the value after that.

local lapse_ms = integers(3, 3)
local present = redis.call('GET', KEYS[1])
if present and string.match(present, '^[^:]*') ~= ARGV[2] then
  return present
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', digits(lapse_ms))
return ARGV[1]
