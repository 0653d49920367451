#!lua flags=allow-oom
-- Ends a hold at no cost: Ledger.release, as MemoryLedger.release.
-- with: integers clock ledger/account
-- KEYS: holds, closed
-- ARGV: now, id, how long to remember the hold in ms
-- Returns 'OK'.

local now_ms = math.floor(clock(ARGV[1]) * 1000)
local remembered_ms = integers(3, 3)
if redis.call('EXISTS', KEYS[2]) == 0 then
  close(KEYS[1], KEYS[2], ARGV[2], now_ms, remembered_ms)
end
return 'OK'
