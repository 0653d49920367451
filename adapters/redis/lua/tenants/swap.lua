#!lua
-- Puts a tenant's document in the place of another: TenantDocuments.replace, as MemoryTenantStore.replace.
-- KEYS: the document
-- ARGV: whether there is one that it replaces, and which; whether there is a new one, and which
-- Returns 1, or 0 where what is there is another.

local present = redis.call('GET', KEYS[1])
local expected = ARGV[1] == '1' and ARGV[2]
if present ~= expected then
  return 0
end
if ARGV[3] == '1' then
  redis.call('SET', KEYS[1], ARGV[4])
else
  redis.call('DEL', KEYS[1])
end
return 1
