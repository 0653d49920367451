-- Setting tokens aside: what Ledger.hold does to an account that has been looked at. As MemoryLedger.hold.
-- Goes with ledger/account.

-- What a hold has set aside, whether it is open or not; nil where there was none of this id.
local function first_hold(id)
  return split(redis.call('HGET', KEYS[2], id)) or read_closed(id)
end

-- The amount that is set aside for a new hold; nil, and nothing was changed, where there is too little.
local function set_aside(account, id, wanted, least, initial, lapse_ms, lasting)
  local amount = math.min(wanted, (account.balance or initial) - account.held)
  local partial = amount < wanted
  -- Of those that may come to cost more than they have set aside, one at a time: two would overrun together.
  local blocked = partial and redis.call('HEXISTS', KEYS[2], redis.call('HGET', KEYS[2], ':partial') or '') == 1
  if amount < least or blocked then
    return nil
  end
  if not account.balance then
    account.balance, account.lasting = initial, lasting == 1
    if not account.lasting and redis.call('EXISTS', KEYS[3]) == 0 then
      account.brief = true
    end
    append(account, 'grant', 'initial:' .. id, initial)
  end
  local at = now_ms + lapse_ms
  account.held = account.held + amount
  account.next_lapse = account.next_lapse == 0 and at or math.min(account.next_lapse, at)
  append(account, 'hold', id, amount)
  redis.call('HSET', KEYS[2], id, join(amount, at, 0))
  if partial then
    redis.call('HSET', KEYS[2], ':partial', id)
  end
  return amount
end

-- The reply for a caller who has too little: {'SHORT', balance, held}.
local function finish_short(account, initial)
  return finish(account, 'SHORT', digits(account.balance or initial), digits(account.held))
end
