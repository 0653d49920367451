#!lua flags=allow-oom
-- Adds entries to a run's log and may end it: RunStore.append.
-- with: integers clock runs/leases runs/leave runs/bell runs/appending
-- KEYS: as in appending.lua
-- ARGV: now, id, then as in appending.lua
-- Returns what Standing calls it, and the number of the last entry.

local write = write_at(1, ARGV[2], 3)
local run, standing = owned_run(write)
if not run then
  return standing
end
return is_open(run, write) and carry_out(run, write) or stand_by(run, write)
