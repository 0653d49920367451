#!lua
-- Charges all meters and takes all places, or none: RateLimiter.take, as rate.take in domain/rate.py.
-- with: integers clock rate/meter rate/places
-- KEYS: one for each charge, then one for each slot
-- ARGV: now, how many charges; then cost, limit and window in microseconds (0: daily) of each charge; then limit, holder
-- and duration in microseconds of each slot
-- Returns now, the longest wait and whose it is (the place among KEYS, 0 if nothing refused), then for each charge what
-- its meter holds after the decision and how long it is not wholly free. Times are in microseconds.

local now, count = micros(clock(ARGV[1])), integers(2, 2)
local charges, meters, slots = {}, {}, {}
local longest, refused = 0, 0
for place, key in ipairs(KEYS) do
  local long
  if place <= count then
    local charge = charge_at(3 * place)
    charges[place], meters[place] = charge, read_meter(key, charge, now)
    long = wait(key, meters[place], charge, now)
  else
    slots[place] = slot_at(3 * place)
    long = fits(key, slots[place], now) and 0 or 1000000
  end
  if long > longest then
    longest, refused = long, place
  end
end

local told = {now, longest, refused}
for place, key in ipairs(KEYS) do
  if place <= count then
    if refused == 0 then
      add(key, meters[place], charges[place], now)
    end
    told[#told + 1] = meters[place].used
    told[#told + 1] = reset(meters[place], charges[place], now)
  elseif refused == 0 then
    hold(key, slots[place], now)
  end
end
return told
