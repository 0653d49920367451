#!lua flags=no-writes,allow-oom
-- Tells what the server does when its memory is full, which is for whoever trusts it with balances.
-- KEYS: any, of the slot whose server is meant
-- Returns the policy, '' where the memory has no bound.

local memory = redis.call('INFO', 'memory')
if string.match(memory, 'maxmemory:(%d+)') == '0' then
  return ''
end
return string.match(memory, 'maxmemory_policy:([%a-]+)') or ''
