#!lua flags=allow-oom
-- Gives places back: RateLimiter.free.
-- KEYS: one for each slot
-- ARGV: the holder of each
-- Returns 'OK'.

for place, key in ipairs(KEYS) do
  redis.call('ZREM', key, ARGV[place])
end
return 'OK'
