#!lua flags=allow-oom
-- Ends a run and charges what it cost, if it is the writer's, or does neither: Till.conclude. Where one server has all
-- keys.
-- with: integers clock ledger/account ledger/settling runs/leases runs/leave runs/bell runs/appending
-- KEYS: balance, holds, history, then as in appending.lua
-- ARGV: as in account.lua; id, cost, then as in appending.lua, where 'charged' is what is charged here
-- Returns what Standing calls it, the number of the last entry, and what was charged in all; or {'UNUSABLE'}.

local id = ARGV[5]
local cost = integers(6, 6)
if cost < 0 then
  return redis.error_reply('EINVAL nothing costs less than nothing')
end
local write = write_at(4, id, 7)
local run, standing = owned_run(write)
if not run then
  return {standing[1], standing[2], '0'}
end
local open = is_open(run, write)
-- An ending that is repeated was charged with the first, and is charged no more.
if not open and run.status ~= write.status then
  return {'lost', run.tail, '0'}
end
local account = look()
if not account then
  return {'UNUSABLE'}
end
local charged = digits(settle(account, id, cost))
finish(account)
write.charged = charged
local answer = open and carry_out(run, write) or stand_by(run, write)
return {answer[1], answer[2], charged}
