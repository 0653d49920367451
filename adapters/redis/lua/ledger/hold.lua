#!lua
-- Sets tokens aside: Ledger.hold, as MemoryLedger.hold.
-- with: integers clock ledger/account
-- KEYS: balance, holds, history
-- ARGV: as in account.lua; id, wanted, least, initial, lapse in ms, whether a new record is lasting (1 or 0)
-- Returns {'HELD', amount}, {'SHORT', balance, held} or {'UNUSABLE'}.

local id = ARGV[5]
local wanted, least, initial, lapse_ms, lasting = integers(6, 10)
if wanted < 1 or least < 1 or initial < 0 or lapse_ms < 1 then
  return redis.error_reply('EINVAL a hold is of one token at least, for one millisecond at least')
end
local account = look()
if not account then
  return {'UNUSABLE'}
end
local balance = account.balance or initial
local first = split(redis.call('HGET', KEYS[2], id)) or read_closed(id)
local amount = first or math.min(wanted, balance - account.held)
-- Of those that may come to cost more than they have set aside, one at a time: two would overrun together.
local partial = not first and amount < wanted
local blocked = partial and redis.call('HEXISTS', KEYS[2], redis.call('HGET', KEYS[2], ':partial') or '') == 1
if amount < least or blocked then
  local held = digits(account.held)
  return finish(account, 'SHORT', digits(balance), held)
end
if first then
  return finish(account, 'HELD', digits(first))
end

if not account.balance then
  account.balance, account.lasting = initial, lasting == 1
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
return finish(account, 'HELD', digits(amount))
