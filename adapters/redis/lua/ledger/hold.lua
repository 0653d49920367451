#!lua
-- Sets tokens aside: Ledger.hold, as MemoryLedger.hold.
-- with: integers clock ledger/account ledger/setting_aside
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
local first = first_hold(id)
-- One that was released before it was made is of nothing.
local amount = first or set_aside(account, id, wanted, least, initial, lapse_ms, lasting)
if not amount or amount < least then
  return finish_short(account, initial)
end
return finish(account, 'HELD', digits(amount))
