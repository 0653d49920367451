#!lua flags=allow-oom
-- Takes what a run cost from its balance and ends its hold, once: Ledger.settle, as MemoryLedger.settle.
-- with: integers clock ledger/account ledger/settling
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
return finish(account, 'OK', digits(settle(account, id, cost)))
