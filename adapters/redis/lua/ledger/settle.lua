#!lua flags=allow-oom
-- Takes what a run cost from its balance and ends its hold, once: Ledger.settle, as MemoryLedger.settle.
-- with: integers clock ledger/account
-- KEYS: balance, holds, closed
-- ARGV: now, id, cost, how long to remember the hold in ms, how long to keep a new record in ms
-- Returns {'OK', what was charged} or {'UNUSABLE', 0}.

local now_ms = math.floor(clock(ARGV[1]) * 1000)
local cost, remembered_ms, record_ms = integers(3, 5)
local _, charged = read_closed(KEYS[3])
if charged then
  return {'OK', charged}
end
local record = read_balance(KEYS[1])
if record == false then
  return {'UNUSABLE', 0}
end

local balance = digits(math.max((record or 0) - cost, -MAX))
if record then
  redis.call('SET', KEYS[1], balance, 'KEEPTTL')
else
  redis.call('SET', KEYS[1], balance, 'PX', digits(record_ms))
end
return {'OK', close(KEYS[2], KEYS[3], ARGV[2], cost, now_ms, remembered_ms)}
