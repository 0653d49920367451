#!lua flags=allow-oom
-- Tells the balance and its open holds: Ledger.available, as MemoryLedger.available.
-- with: integers clock ledger/account
-- KEYS: balance, holds, history
-- ARGV: as in account.lua
-- Returns {'OK', balance, held} or {'UNUSABLE'}.

local account = look()
return account and finish_with_balance(account, 'OK') or {'UNUSABLE'}
