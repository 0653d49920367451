#!lua flags=allow-oom
-- Finds an API key, and takes note that it is used, at most once a minute: ApiKeyStore.find, as MemoryApiKeyStore.find.
-- with: clock
-- KEYS: the key, a hash
-- ARGV: the time, '' for the server's; after how many seconds use is noted again
-- Returns what is known of it, false where there is none, and the Unix second of its last use, '' for never.

local known, used = unpack(redis.call('HMGET', KEYS[1], 'known', 'used'))
if not known then
  return {false, ''}
end
local now = clock(ARGV[1])
if not used or now - tonumber(used) >= tonumber(ARGV[2]) then
  used = string.format('%d', now)
  redis.call('HSET', KEYS[1], 'used', used)
end
return {known, used}
