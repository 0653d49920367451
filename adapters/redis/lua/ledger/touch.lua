#!lua flags=allow-oom
-- Says that a hold is still needed, and what it has used: Ledger.touch, as MemoryLedger.touch.
-- with: integers clock ledger/account
-- KEYS: balance, holds, history
-- ARGV: as in account.lua; id, used, lapse in ms
-- Returns {'OK', 1 or 0} or {'UNUSABLE'}.

local id = ARGV[5]
local used, lapse_ms = integers(6, 7)
if used < 0 or lapse_ms < 1 then
  return redis.error_reply('EINVAL nobody uses less than nothing, and no hold lasts for less than a millisecond')
end
local account = look()
if not account then
  return {'UNUSABLE'}
end
local amount, at, before = split(redis.call('HGET', KEYS[2], id))
if amount then
  -- The next lapse of all only gets later, and an early look is harmless.
  redis.call('HSET', KEYS[2], id, join(amount, math.max(at, now_ms + lapse_ms), math.max(before, used)))
end
return finish(account, 'OK', amount and 1 or 0)
