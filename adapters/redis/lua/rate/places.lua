-- Places of runs that go on, as domain/rate.py reckons them: a sorted set of holders by when they lapse, in
-- microseconds.

-- Limit, holder and duration of a slot that begins at a place in ARGV.
local function slot_at(place)
  return {limit = integers(place, place), holder = ARGV[place + 1], lasts = integers(place + 2, place + 2)}
end

-- rate.fits
local function fits(key, slot, now)
  if redis.call('ZCARD', key) < slot.limit then
    return true
  end
  -- Those who have lapsed are looked for only where they would be in the way.
  redis.call('ZREMRANGEBYSCORE', key, '-inf', digits(now))
  return redis.call('ZCARD', key) < slot.limit or redis.call('ZSCORE', key, slot.holder)
end

-- rate.hold
local function hold_place(key, slot, now)
  redis.call('ZADD', key, digits(now + slot.lasts), slot.holder)
  -- The last to lapse takes the key along, a second later.
  local ms = math.ceil(slot.lasts / 1000) + 1000
  if redis.call('PTTL', key) < ms then
    redis.call('PEXPIRE', key, digits(ms))
  end
end
