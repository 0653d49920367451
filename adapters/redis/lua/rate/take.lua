#!lua
-- Charges all meters or none: RateLimiter.take, as rate.take in domain/rate.py.
-- with: integers clock rate/meter
-- KEYS: one for each meter
-- ARGV: now, then cost, limit and window for each meter
-- Returns what the decision was made on: now, then each meter's arrival time before it ('' where there was none).

local now = clock(ARGV[1])
local charges, tats, seen = {}, {}, {string.format('%.17g', now)}
local longest = 0
for place, key in ipairs(KEYS) do
  charges[place] = charge_at(3 * place - 1)
  local text = redis.call('GET', key)
  tats[place] = tonumber(text) or false
  seen[place + 1] = text or ''
  longest = math.max(longest, wait(tats[place], charges[place], now))
end

if longest <= 1e-6 then
  for place, key in ipairs(KEYS) do
    write_meter(key, arrival(tats[place], charges[place], now), now)
  end
end
return seen
