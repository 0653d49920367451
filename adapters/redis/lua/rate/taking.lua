-- What a request asks of the limits: whether it fits, and taking it. As rate.take in domain/rate.py.
-- Goes with rate/meter and rate/places.

-- Looks at the meters and places whose keys begin at one place in KEYS, and whose words at one in ARGV: how many charges;
-- then cost, limit and window in microseconds (0: daily) of each charge; then limit, holder and duration in microseconds
-- of each slot. What waits longest is what refused; 'refused' is its number, 0 where nothing did.
local function ask_limits(first_key, first_word, now)
  local asked = {
    count = integers(first_word, first_word), keys = {}, charges = {}, meters = {}, slots = {}, longest = 0, refused = 0,
  }
  for number = 1, #KEYS - first_key + 1 do
    local key, word, long = KEYS[first_key + number - 1], first_word + 3 * number - 2
    asked.keys[number] = key
    if number <= asked.count then
      local charge = charge_at(word)
      asked.charges[number], asked.meters[number] = charge, read_meter(key, charge, now)
      long = wait(key, asked.meters[number], charge, now)
    else
      asked.slots[number] = slot_at(word)
      long = fits(key, asked.slots[number], now) and 0 or 1000000
    end
    if long > asked.longest then
      asked.longest, asked.refused = long, number
    end
  end
  return asked
end

local function take_limits(asked, now)
  for number, key in ipairs(asked.keys) do
    if number <= asked.count then
      add(key, asked.meters[number], asked.charges[number], now)
    else
      hold_place(key, asked.slots[number], now)
    end
  end
end

-- Now, the longest wait and whose it is, then for each charge what its meter holds and how long it is not wholly free.
local function tell_limits(asked, now)
  local told = {now, asked.longest, asked.refused}
  for number = 1, asked.count do
    told[#told + 1] = asked.meters[number].used
    told[#told + 1] = reset(asked.meters[number], asked.charges[number], now)
  end
  return told
end
