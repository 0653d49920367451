#!lua flags=allow-oom
-- Reads a history from its end: Ledger.history, as MemoryLedger.history.
-- with: integers clock ledger/account
-- KEYS: balance, holds, history
-- ARGV: as in account.lua; before which entry, empty for the end; how many
-- Returns the entries, the latest first.

local last, count = ARGV[5] == '' and '+' or '(' .. ARGV[5], integers(6, 6)
local account = look()
if account then
  finish(account)
end
-- A balance that is no integer hides no history.
return redis.call('XREVRANGE', KEYS[3], last, '-', 'COUNT', digits(count))
