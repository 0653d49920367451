#!lua flags=allow-oom
-- Renews places that are still held: RateLimiter.keep, as rate.keep in domain/rate.py.
-- with: integers clock rate/meter rate/places
-- KEYS: one for each slot
-- ARGV: now, then limit, holder and duration in microseconds of each slot
-- Returns 'OK'.

local now = micros(clock(ARGV[1]))
for place, key in ipairs(KEYS) do
  local slot = slot_at(3 * place - 1)
  local lapse = tonumber(redis.call('ZSCORE', key, slot.holder))
  if lapse and lapse > now then
    hold_place(key, slot, now)
  end
end
return 'OK'
