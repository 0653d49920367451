#!lua flags=no-writes
-- Looks at a shard: RunStore.survey, as MemoryRunStore.survey.
-- with: integers clock
-- KEYS: ready, leases
-- ARGV: now, the most overdue runs to name
-- Returns how many runs wait, the turn of the first of them and its id (nil where there is none), and the overdue ones.

local now_ms = digits(math.floor(clock(ARGV[1]) * 1000))
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local overdue = redis.call('ZRANGE', KEYS[2], '-inf', now_ms, 'BYSCORE', 'LIMIT', 0, ARGV[2])
return {redis.call('ZCARD', KEYS[1]), first[2] or false, first[1] or false, overdue}
