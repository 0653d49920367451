#!lua flags=allow-oom
-- Tells the balance less its open holds: Ledger.available, as MemoryLedger.available.
-- with: integers clock ledger/account
-- KEYS: balance, holds
-- ARGV: now
-- Returns {'OK', available} or {'UNUSABLE', 0}.

local balance = read_balance(KEYS[1])
if balance == false then
  return {'UNUSABLE', 0}
end
local held = read_holds(KEYS[2], math.floor(clock(ARGV[1]) * 1000))
return {'OK', (balance or 0) - held}
