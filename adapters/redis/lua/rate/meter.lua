-- A meter, as domain/rate.py reckons it. A hash: the number of a slice -> '<units>:<latest>'; and beside the slices, so
-- that few requests look at them, ':used', all their units; ':newest', the units of the newest; ':last', its latest; and
-- ':first', before which nothing leaves: the latest of the oldest, or of one that was older and has been given back.
-- Times are in microseconds: integers, which doubles hold exactly.

local DAY = 86400000000

-- A time of the clock in microseconds: rate.micros
local function micros(seconds)
  return math.floor(seconds * 1000000 + 0.5)
end

-- Cost, limit and window (0: daily) of a charge that begins at a place in ARGV.
local function charge_at(place)
  local cost, limit, window = integers(place, place + 2)
  local daily = window == 0
  local span = daily and DAY or window
  return {
    cost = cost, limit = limit, daily = daily, span = span,
    width = daily and DAY or math.max(1, math.floor(window / 60)),
  }
end

local function number_of(charge, time)
  return math.floor(time / charge.width)
end

-- rate.leaves
local function leaves(charge, latest)
  return charge.daily and (number_of(charge, latest) + 1) * DAY or latest + charge.span
end

local function write_slice(key, number, units, latest, ...)
  redis.call('HSET', key, digits(number), digits(units) .. ':' .. digits(latest), ...)
end

-- Calls visit with number, units and latest of each slice between two numbers, in their order, until it returns true.
local function walk(key, from, to, visit)
  -- A busy meter wants one or two of them, an idle one has gaps: ask for two at once, then for four, and so on.
  local at_once = 2
  while from <= to do
    local names = {}
    for number = from, math.min(from + at_once - 1, to) do
      names[#names + 1] = digits(number)
    end
    for place, text in ipairs(redis.call('HMGET', key, unpack(names))) do
      local units, latest = string.match(text or '', '^(%d+):(%d+)$')
      if units and visit(from + place - 1, tonumber(units), tonumber(latest)) then
        return
      end
    end
    from, at_once = from + at_once, at_once * 2
  end
end

local function free(now)
  return {used = 0, moment = now}
end

local function forget(key, now)
  redis.call('DEL', key)
  return free(now)
end

-- The meter without what has left: rate.live. Its moment is rate._moment.
local function read_meter(key, charge, now)
  local used, first, last, newest = unpack(redis.call('HMGET', key, ':used', ':first', ':last', ':newest'))
  if not used then
    return free(now)
  end
  local meter = {used = tonumber(used), first = tonumber(first), last = tonumber(last), newest = tonumber(newest)}
  meter.moment = math.max(now, meter.last)
  if meter.last - now > charge.span or meter.moment >= leaves(charge, meter.last) then
    return forget(key, now)
  end
  if meter.moment < leaves(charge, meter.first) then
    return meter
  end
  local gone = {}
  walk(key, number_of(charge, meter.first), number_of(charge, meter.last), function(number, units, latest)
    if meter.moment < leaves(charge, latest) then
      meter.first = latest
      return true
    end
    gone[#gone + 1] = digits(number)
    meter.used = meter.used - units
  end)
  if #gone > 0 then
    redis.call('HDEL', key, unpack(gone))
  end
  redis.call('HSET', key, ':used', digits(meter.used), ':first', digits(meter.first))
  return meter
end

-- How long the meter is not wholly free.
local function reset(meter, charge, now)
  return meter.used > 0 and leaves(charge, meter.last) - now or 0
end

-- rate.wait
local function wait(key, meter, charge, now)
  local left = meter.used
  if charge.cost == 0 then
    return 0
  elseif charge.daily then
    return left < charge.limit and 0 or leaves(charge, meter.moment) - now
  elseif left == 0 or left + charge.cost <= charge.limit then
    return 0
  end
  local until_fits
  walk(key, number_of(charge, meter.first), number_of(charge, meter.last), function(_, units, latest)
    left = left - units
    until_fits = leaves(charge, latest) - now
    return left + charge.cost <= charge.limit
  end)
  return until_fits
end

-- rate.add
local function add(key, meter, charge, now)
  if charge.cost == 0 then
    return
  end
  local latest, number = meter.moment, number_of(charge, meter.moment)
  local begins = meter.used == 0 or number > number_of(charge, meter.last)
  meter.newest = (begins and 0 or meter.newest) + charge.cost
  if meter.used == 0 or number == number_of(charge, meter.first) then
    meter.first = latest
  end
  meter.used, meter.last = meter.used + charge.cost, latest
  write_slice(
    key, number, meter.newest, latest,
    ':used', digits(meter.used), ':first', digits(meter.first), ':last', digits(latest), ':newest', digits(meter.newest)
  )
  if begins then
    -- As long as anything of this slice can last, and a second more.
    local lasts = leaves(charge, (number + 1) * charge.width - 1) - now
    redis.call('PEXPIRE', key, digits(math.ceil(lasts / 1000) + 1000))
  end
end

-- What rate.correct does with a negative cost.
local function give_back(key, meter, charge, at)
  local number = number_of(charge, at)
  local units, latest = string.match(redis.call('HGET', key, digits(number)) or '', '^(%d+):(%d+)$')
  if not units then
    return
  end
  local rest = math.max(0, tonumber(units) + charge.cost)
  meter.used = meter.used - (tonumber(units) - rest)
  if meter.used == 0 then
    redis.call('DEL', key)
    return
  end
  if rest > 0 then
    write_slice(key, number, rest, latest, ':used', digits(meter.used))
  else
    redis.call('HDEL', key, digits(number))
    redis.call('HSET', key, ':used', digits(meter.used))
  end
  if number ~= number_of(charge, meter.last) then
    return
  end
  meter.newest = rest
  if rest == 0 then
    walk(key, number_of(charge, meter.first), number - 1, function(_, before, last)
      meter.newest, meter.last = before, last
    end)
  end
  redis.call('HSET', key, ':newest', digits(meter.newest), ':last', digits(meter.last))
end
