#!lua flags=allow-oom
-- Takes what a run cost from its balance and ends its hold, once: Ledger.settle, as MemoryLedger.settle.
-- with: integers clock ledger/account
-- KEYS: balance, holds, history
-- ARGV: as in account.lua; id, cost
-- Returns {'OK', what was charged in all} or {'UNUSABLE'}.

local id = ARGV[5]
local cost = integers(6, 6)
if cost < 0 then
  return redis.error_reply('EINVAL nothing costs less than nothing')
end
local account = look()
if not account then
  return {'UNUSABLE'}
end
local amount, already, lapsed = read_closed(id)
if amount and not lapsed then
  return finish(account, 'OK', digits(already))
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
return finish(account, 'OK', digits(already + rest))
