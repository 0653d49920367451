#!lua
-- Takes from the limits and sets tokens aside, or does neither: Till.admit. Where one server has all keys.
-- with: integers clock ledger/account ledger/setting_aside rate/meter rate/places rate/taking
-- KEYS: balance, holds, history, then one for each charge, then one for each slot
-- ARGV: as in account.lua; id, wanted, least, initial, lapse in ms, whether a new record is lasting (1 or 0); then as in
--   taking.lua
-- Returns {'REFUSED', what tell_limits tells}, {'SHORT', balance, held}, {'HELD', what tell_limits tells, amount} or
-- {'UNUSABLE'}.

local id = ARGV[5]
local wanted, least, initial, lapse_ms, lasting = integers(6, 10)
if wanted < 1 or least < 1 or initial < 0 or lapse_ms < 1 then
  return redis.error_reply('EINVAL a hold is of one token at least, for one millisecond at least')
end
local now = micros(clock(ARGV[1]))
local asked = ask_limits(4, 11, now)
-- Who asks again, because the reply was lost, has taken from the limits already.
local again = redis.call('HEXISTS', KEYS[2], id) == 1
if again then
  asked.longest, asked.refused = 0, 0
elseif asked.refused > 0 then
  return {'REFUSED', tell_limits(asked, now)}
end
local account = look()
if not account then
  return {'UNUSABLE'}
end
local amount = first_hold(id) or set_aside(account, id, wanted, least, initial, lapse_ms, lasting)
if not amount or amount < least then
  return finish_short(account, initial)
end
finish(account)
if not again then
  take_limits(asked, now)
end
return {'HELD', tell_limits(asked, now), digits(amount)}
