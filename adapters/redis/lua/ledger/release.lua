#!lua flags=allow-oom
-- Ends a hold at no cost: Ledger.release, as MemoryLedger.release.
-- with: integers clock ledger/account
-- KEYS: holds, closed
-- ARGV: now, id, how long to remember the hold in ms
-- Returns what was charged.

local now_ms = math.floor(clock(ARGV[1]) * 1000)
local remembered_ms = integers(3, 3)
local _, charged = read_closed(KEYS[2])
return charged or close(KEYS[1], KEYS[2], ARGV[2], 0, now_ms, remembered_ms)
