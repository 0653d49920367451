#!lua flags=allow-oom
-- Lets a run keep its name: RunNames.keep, as MemoryRunNames.keep.
-- with: integers
-- KEYS: name, whose value is '<run>:<fingerprint>'
-- ARGV: the run, for how many ms
-- Returns 'OK'.

local lapse_ms = integers(2, 2)
local present = redis.call('GET', KEYS[1])
if present and string.match(present, '^[^:]*') == ARGV[1] then
  -- A time of nothing deletes.
  redis.call('PEXPIRE', KEYS[1], digits(lapse_ms))
end
return 'OK'
