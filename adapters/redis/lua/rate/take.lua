#!lua
-- Charges all meters and takes all places, or none: RateLimiter.take.
-- with: integers clock rate/meter rate/places rate/taking
-- KEYS: one for each charge, then one for each slot
-- ARGV: now, then as in taking.lua
-- Returns what tell_limits tells, after the decision. Times are in microseconds.

local now = micros(clock(ARGV[1]))
local asked = ask_limits(1, 2, now)
if asked.refused == 0 then
  take_limits(asked, now)
end
return tell_limits(asked, now)
