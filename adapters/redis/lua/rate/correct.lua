#!lua flags=allow-oom
-- Adds to meters, whatever they hold, or gives back, and gives places back: RateLimiter.correct, as rate.correct in
-- domain/rate.py.
-- with: integers clock rate/meter
-- KEYS: one for each charge, then one for each slot
-- ARGV: now, when the costs were estimated in microseconds, how many charges; then cost, limit and window in
-- microseconds (0: daily) of each charge; then the holder of each slot
-- Returns 'OK'.

local now, at, count = micros(clock(ARGV[1])), integers(2, 3)
for place = 1, count do
  local charge = charge_at(3 * place + 1)
  local meter = read_meter(KEYS[place], charge, now)
  if charge.cost < 0 then
    give_back(KEYS[place], meter, charge, at)
  elseif not charge.daily or number_of(charge, at) == number_of(charge, meter.moment) then
    add(KEYS[place], meter, charge, now)
  end
end
for place = count + 1, #KEYS do
  redis.call('ZREM', KEYS[place], ARGV[2 * count + 3 + place])
end
return 'OK'
