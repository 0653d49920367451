#!lua
-- Sets a balance, once: Ledger.adjust, as MemoryLedger.adjust.
-- with: integers clock ledger/account
-- KEYS: balance, holds, history, operation
-- ARGV: as in account.lua; id, balance
-- Returns {'OK', balance, held}, {'CONFLICT', ...} or {'UNUSABLE'}.

local id = ARGV[5]
local balance = integers(6, 6)
local account = look()
if not account then
  return {'UNUSABLE'}
end
local what = 'adjust:' .. digits(balance)
local done = redis.call('GET', KEYS[4])
if done then
  return finish_with_balance(account, done == what and 'OK' or 'CONFLICT')
end

local difference = balance - (account.balance or 0)
account.balance, account.lasting = balance, true
append(account, 'adjust', id, difference)
redis.call('SET', KEYS[4], what, 'PX', digits(remembered_ms))
return finish_with_balance(account, 'OK')
