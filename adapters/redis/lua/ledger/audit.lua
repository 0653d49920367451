#!lua flags=allow-oom
-- Reads a whole account at one moment: Ledger.audit, as MemoryLedger.audit.
-- with: integers clock ledger/account
-- KEYS: balance, holds, history
-- ARGV: as in account.lua
-- Returns {balance, what is beside it, entries, the earliest first} or {'UNUSABLE'}.

local account = look()
if not account then
  return {'UNUSABLE'}
end
finish(account)
local entries = is_brief() and spelled_out() or redis.call('XRANGE', KEYS[3], '-', '+')
return {redis.call('GET', KEYS[1]) or '0', redis.call('HGETALL', KEYS[2]), entries}
