#!lua flags=allow-oom
-- Reads a history from its end: Ledger.history, as MemoryLedger.history.
-- with: integers clock ledger/account
-- KEYS: balance, holds, history
-- ARGV: as in account.lua; before which entry, empty for the end; how many
-- Returns the entries, the latest first.

-- Whether one id is of an earlier entry than another; an id may leave its number out.
local function precedes(one, other)
  local one_ms, one_number = string.match(one, '^(%d+)-?(%d*)$')
  local other_ms, other_number = string.match(other, '^(%d+)-?(%d*)$')
  one_ms, other_ms = tonumber(one_ms), tonumber(other_ms)
  return one_ms < other_ms or one_ms == other_ms and (tonumber(one_number) or 0) < (tonumber(other_number) or 0)
end

local last, count = ARGV[5] == '' and '+' or '(' .. ARGV[5], integers(6, 6)
local account = look()
if account then
  finish(account)
end
-- A balance that is no integer hides no history.
if is_brief() then
  local entries, told = spelled_out(), {}
  for place = #entries, 1, -1 do
    if #told < count and (ARGV[5] == '' or precedes(entries[place][1], ARGV[5])) then
      told[#told + 1] = entries[place]
    end
  end
  return told
end
return redis.call('XREVRANGE', KEYS[3], last, '-', 'COUNT', digits(count))
