#!lua flags=allow-oom
-- Adds to a meter, whatever it holds, or gives back: RateLimiter.correct, as rate.correct in domain/rate.py.
-- with: integers clock rate/meter
-- KEYS: meter
-- ARGV: now, cost, limit, window in microseconds (0: daily), when the cost was estimated in microseconds
-- Returns 'OK'.

local now, charge, at = micros(clock(ARGV[1])), charge_at(2), integers(5, 5)
local meter = read_meter(KEYS[1], charge, now)
if charge.cost < 0 then
  give_back(KEYS[1], meter, charge, at)
elseif not charge.daily or number_of(charge, at) == number_of(charge, meter.moment) then
  add(KEYS[1], meter, charge, now)
end
return 'OK'
