#!lua flags=allow-oom
-- What a replica found of the targets, and what all found: HealthBoard.exchange, as MemoryHealthBoard.exchange.
-- with: integers clock
-- KEYS: the board, a hash; each value is '<until>:<granted until>:<prober>', times in ms
-- ARGV: now, the replica, how long a note is kept beyond its time and a probe is granted, both in ms, how many notes
--   follow and how many subjects that are well; then the notes (subject and ms), the well ones, and those to probe
-- Returns subjects and the ms that are left of each, in turn; and the subjects that this replica may probe.

local FIRST = 7
local replica = ARGV[2]
local beyond_ms, granted_ms, told, well = integers(3, 6)
local now_ms = math.floor(clock(ARGV[1]) * 1000)
local place = FIRST

local longest = 0
for _ = 1, told do
  local until_ms = now_ms + integers(place + 1, place + 1)
  redis.call('HSET', KEYS[1], ARGV[place], digits(until_ms) .. ':0:')
  place = place + 2
end
for _ = 1, well do
  redis.call('HDEL', KEYS[1], ARGV[place])
  place = place + 1
end

local wanted = {}
for at = place, #ARGV do
  wanted[ARGV[at]] = true
end

local notes, granted = {}, {}
local board = redis.call('HGETALL', KEYS[1])
for at = 1, #board, 2 do
  local subject = board[at]
  local ends, held, prober = string.match(board[at + 1], '^(%d+):(%d+):(.*)$')
  ends, held = tonumber(ends), tonumber(held)
  if now_ms >= ends + beyond_ms then
    redis.call('HDEL', KEYS[1], subject)
  else
    if wanted[subject] and now_ms >= ends and (prober == '' or prober == replica or now_ms >= held) then
      redis.call('HSET', KEYS[1], subject, digits(ends) .. ':' .. digits(now_ms + granted_ms) .. ':' .. replica)
      granted[#granted + 1] = subject
    end
    notes[#notes + 1] = subject
    notes[#notes + 1] = math.max(ends - now_ms, 0)
    longest = math.max(longest, ends - now_ms + beyond_ms)
  end
end
if longest > 0 then
  redis.call('PEXPIRE', KEYS[1], digits(longest))
end
return {notes, granted}
