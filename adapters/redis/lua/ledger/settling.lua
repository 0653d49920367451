-- Settling: what Ledger.settle does to an account that has been looked at. As MemoryLedger.settle.
-- Goes with ledger/account.

-- What was charged for the hold in all.
local function settle(account, id, cost)
  local amount, already, lapsed = read_closed(id)
  if amount and not lapsed then
    return already
  end
  if not amount then
    already = 0
    amount = split(redis.call('HGET', KEYS[2], id))
    if amount then
      redis.call('HDEL', KEYS[2], id)
      account.held = account.held - amount
    end
  end
  local rest = math.max(cost - already, 0)
  charge(account, rest)
  append(account, 'settle', id, rest)
  write_closed(id, amount or 0, already + rest)
  return already + rest
end
