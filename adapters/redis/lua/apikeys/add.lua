#!lua
-- Keeps an API key: ApiKeyStore.add, as MemoryApiKeyStore.add.
-- KEYS: the key, a hash
-- ARGV: what is known of it, as JSON; the Unix millisecond until which it is kept, or '' for good
-- Returns 'OK'.

redis.call('HSET', KEYS[1], 'known', ARGV[1])
if ARGV[2] ~= '' then
  redis.call('PEXPIREAT', KEYS[1], ARGV[2])
end
return 'OK'
