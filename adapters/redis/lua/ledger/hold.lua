#!lua
-- Sets tokens aside: Ledger.hold, as MemoryLedger.hold.
-- with: integers clock ledger/account
-- KEYS: balance, holds, closed
-- ARGV: now, id, wanted, least, initial, lapse in ms, how long to keep the record in ms (0: for ever)
-- Returns {'HELD', amount}, {'SHORT', available} or {'UNUSABLE', 0}.

local now_ms = math.floor(clock(ARGV[1]) * 1000)
local id = ARGV[2]
local wanted, least, initial, lapse_ms, record_ms = integers(3, 7)
if least < 1 or lapse_ms < 1 then
  return redis.error_reply('EINVAL a hold is of one token at least, for one millisecond at least')
end
local record = read_balance(KEYS[1])
if record == false then
  return {'UNUSABLE', 0}
end

local held, next_lapse = read_holds(KEYS[2], now_ms)
local available = (record or initial) - held
local first = split(redis.call('HGET', KEYS[2], id)) or read_closed(KEYS[3])
local amount = first or math.min(wanted, available)
if amount < least then
  return {'SHORT', available}
end
if first then
  return {'HELD', first}
end

if not record then
  redis.call('SET', KEYS[1], digits(initial))
  if record_ms > 0 then
    redis.call('PEXPIRE', KEYS[1], digits(record_ms))
  end
end
local lapse = now_ms + lapse_ms
redis.call('HSET', KEYS[2], id, digits(amount) .. ':' .. digits(lapse))
write_sum(KEYS[2], held + amount, math.min(next_lapse or lapse, lapse))
-- The last hold to lapse takes the key along, a second later.
redis.call('PEXPIRE', KEYS[2], digits(math.max(redis.call('PTTL', KEYS[2]), lapse_ms + 1000)))
return {'HELD', amount}
