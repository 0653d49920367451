#!lua
-- Adds tokens to a balance, once: Ledger.grant, as MemoryLedger.grant.
-- with: integers clock ledger/account
-- KEYS: balance, holds, history, operation
-- ARGV: as in account.lua; id, amount
-- Returns {'OK', balance, held}, {'CONFLICT', ...}, {'TOO_LARGE', ...} or {'UNUSABLE'}.

local id = ARGV[5]
local amount = integers(6, 6)
if amount < 1 then
  return redis.error_reply('EINVAL a grant is of one token at least')
end
local account = look()
if not account then
  return {'UNUSABLE'}
end
local what = 'grant:' .. digits(amount)
local done = redis.call('GET', KEYS[4])
if done then
  return finish_with_balance(account, done == what and 'OK' or 'CONFLICT')
end
local balance = (account.balance or 0) + amount
if balance > MAX then
  return finish_with_balance(account, 'TOO_LARGE')
end

account.balance, account.lasting = balance, true
append(account, 'grant', id, amount)
redis.call('SET', KEYS[4], what, 'PX', digits(remembered_ms))
return finish_with_balance(account, 'OK')
