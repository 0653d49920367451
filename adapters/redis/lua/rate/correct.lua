#!lua flags=allow-oom
-- Adds to a meter whatever it holds: RateLimiter.correct, as rate.arrival in domain/rate.py.
-- with: integers clock rate/meter
-- KEYS: meter
-- ARGV: now, cost, limit, window
-- Returns 'OK'.

local now = clock(ARGV[1])
local charge = charge_at(2)
write_meter(KEYS[1], arrival(tonumber(redis.call('GET', KEYS[1])), charge, now), now)
return 'OK'
