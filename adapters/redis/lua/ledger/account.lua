-- An account: its balance, and beside it the holds. The hash of holds maps an id to '<amount>:<lapse, Unix ms>'. Ids
-- have no colon, so two fields cannot be mistaken for one: ':held', the sum, and ':next', before which none lapses.

-- The balance: nil where there is no record, false where somebody set what is no integer.
local function read_balance(key)
  local text = redis.call('GET', key)
  if text then
    return integer(text) or false
  end
end

-- Amount and lapse of a hold; nil where the text is none.
local function split(text)
  local amount, lapse = string.match(text or '', '^(%d+):(%d+)$')
  return tonumber(amount), tonumber(lapse)
end

local function write_sum(key, held, next_lapse)
  if next_lapse then
    redis.call('HSET', key, ':held', digits(held), ':next', digits(next_lapse))
  else
    redis.call('DEL', key)
  end
end

-- The sum of the open holds, and the next lapse, nil where none is open. Forgets what has lapsed, which takes a look at
-- all of them only when one may have.
local function read_holds(key, now_ms)
  local sum = redis.call('HMGET', key, ':held', ':next')
  local held, next_lapse = tonumber(sum[1] or 0), tonumber(sum[2])
  if not next_lapse or now_ms < next_lapse then
    return held, next_lapse
  end
  held, next_lapse = 0, nil
  local fields = redis.call('HGETALL', key)
  for place = 1, #fields, 2 do
    local amount, lapse = split(fields[place + 1])
    if amount and lapse > now_ms then
      held = held + amount
      next_lapse = math.min(next_lapse or lapse, lapse)
    elseif amount then
      redis.call('HDEL', key, fields[place])
    end
  end
  write_sum(key, held, next_lapse)
  return held, next_lapse
end

-- Ends a hold at its cost, which it returns, and remembers both; one that was never made can no longer be made.
local function close(holds, closed, id, cost, now_ms, remembered_ms)
  local held, next_lapse = read_holds(holds, now_ms)
  local amount = split(redis.call('HGET', holds, id))
  if amount then
    redis.call('HDEL', holds, id)
    held = held - amount
    -- No hold is of nothing, so a sum of nothing is no hold.
    write_sum(holds, held, held > 0 and next_lapse or nil)
  end
  redis.call('SET', closed, digits(amount or 0) .. ':' .. digits(cost), 'PX', digits(remembered_ms))
  return cost
end

-- Amount and cost of a hold that has ended; nil where it has not.
local function read_closed(closed)
  local amount, cost = string.match(redis.call('GET', closed) or '', '^(%d+):?(%d*)$')
  return tonumber(amount), amount and (tonumber(cost) or 0)
end
