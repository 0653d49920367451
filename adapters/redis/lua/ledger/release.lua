#!lua flags=allow-oom
-- Ends a hold at no cost: Ledger.release, as MemoryLedger.release.
-- with: integers clock ledger/account
-- KEYS: balance, holds, history
-- ARGV: as in account.lua; id
-- Returns {'OK', what was charged} or {'UNUSABLE'}.

local id = ARGV[5]
local account = look()
if not account then
  return {'UNUSABLE'}
end
local amount, charged, lapsed = read_closed(id)
if amount then
  -- One that has lapsed keeps its charge, and is not charged any more.
  if lapsed then
    write_closed(id, amount, charged)
  end
  return finish(account, 'OK', digits(charged))
end
amount = split(redis.call('HGET', KEYS[2], id))
if amount then
  redis.call('HDEL', KEYS[2], id)
  account.held = account.held - amount
  append(account, 'release', id, 0)
end
-- One that was never made can no longer be made.
write_closed(id, amount or 0, 0)
return finish(account, 'OK', '0')
