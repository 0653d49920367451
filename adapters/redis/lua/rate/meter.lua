-- A meter, as domain/rate.py reckons it: its theoretical arrival time in Unix seconds, as text of 17 digits, which is
-- exact. Each expression has the order of its Python twin, so that both round alike.

-- The number in ARGV at a place; an error, and so the end of the script, where it is none.
local function number_at(place)
  local number = string.match(ARGV[place] or '', '^%-?%d[%d.e+-]*$') and tonumber(ARGV[place])
  return number or error('ARGV ' .. place .. ' is no number')
end

-- Cost, limit and window of a charge that begins at a place in ARGV.
local function charge_at(place)
  local limit, window = number_at(place + 1), number_at(place + 2)
  return {cost = number_at(place), interval = window / limit, window = window}
end

-- rate.arrival
local function arrival(tat, charge, now)
  return math.max(tat or now, now) + charge.cost * charge.interval
end

-- rate.wait
local function wait(tat, charge, now)
  local fits_at = math.min(charge.cost * charge.interval, charge.window)
  local level = math.max((tat or 0) - now, 0)
  return math.max(level + fits_at - charge.window, 0)
end

local function write_meter(key, tat, now)
  if tat > now then
    -- The second more keeps rounding from forgetting a meter that is not quite free yet.
    local ms = math.min(math.ceil((tat - now) * 1000) + 1000, MAX)
    redis.call('SET', key, string.format('%.17g', tat), 'PX', digits(ms))
  else
    redis.call('DEL', key)
  end
end
