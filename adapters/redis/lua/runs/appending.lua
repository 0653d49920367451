-- Writing to a run's log, and ending it: what RunStore.append does. As MemoryRunStore.append.
-- Goes with runs/leases, runs/leave and runs/bell.

-- What is to be written. Keys, from one place in KEYS on: record, log, leases, and with an ending: request, result,
-- ready, turns. Words, from one in ARGV on: fence, base, the lease in ms, how long to keep record and result in ms, the
-- same for the log of a run that has ended, the states that this may happen in (separated by spaces), then the new
-- status, usage, charged, error and completion ('' where there is none; all of them '' without an ending), then who
-- answers: provider, model, how often was asked (all of them '' where nothing is new), then the entries.
local function write_at(key, id, word)
  local base, lease_ms, kept_ms, log_ms = integers(word + 1, word + 4)
  return {
    record = KEYS[key], log = KEYS[key + 1], leases = KEYS[key + 2], request = KEYS[key + 3], result = KEYS[key + 4],
    ready = KEYS[key + 5], turns = KEYS[key + 6],
    id = id, fence = ARGV[word], base = base, lease_ms = lease_ms, kept_ms = kept_ms, log_ms = log_ms,
    states = ARGV[word + 5], status = ARGV[word + 6], usage = ARGV[word + 7], charged = ARGV[word + 8],
    error = ARGV[word + 9], completion = ARGV[word + 10], provider = ARGV[word + 11], model = ARGV[word + 12],
    asked = ARGV[word + 13], first = word + 14,
  }
end

-- The run, if it is the writer's and its log is long enough; else nil, and how that stands.
local function owned_run(write)
  local status, fence, attempt, tail, due, cancelling = unpack(
    redis.call('HMGET', write.record, 'status', 'fence', 'attempt', 'tail', 'due', 'cancelling')
  )
  if not status then
    return nil, {'unknown', 0}
  end
  tail = tonumber(tail)
  if fence ~= write.fence then
    return nil, {'lost', tail}
  end
  if write.base > tail then
    return nil, {'behind', tail}
  end
  local known = tail - write.base
  return {
    status = status, attempt = attempt, tail = tail, due = tonumber(due) or 0, known = known,
    new = math.max(#ARGV - write.first + 1 - known, 0), standing = cancelling == '1' and 'cancelling' or 'owned',
  }
end

-- No state's name is a part of another's.
local function is_open(run, write)
  return string.find(write.states, run.status, 1, true)
end

-- Where a run takes nothing any more. A repeated ending brings nothing new.
local function stand_by(run, write)
  local usage, charged, failure = unpack(redis.call('HMGET', write.record, 'usage', 'charged', 'error'))
  local same = write.status == run.status and run.new == 0
    and (usage or '') == write.usage and (charged or '') == write.charged and (failure or '') == write.error
  return {same and run.standing or 'lost', run.tail}
end

local function close_run(write)
  redis.call(
    'HSET', write.record, 'status', write.status, 'usage', write.usage, 'charged', write.charged, 'error', write.error
  )
  redis.call('PEXPIRE', write.record, digits(write.kept_ms))
  redis.call('PEXPIRE', write.log, digits(write.log_ms))
  redis.call('ZREM', write.leases, write.id)
  redis.call('DEL', write.request)
  if write.completion ~= '' then
    redis.call('SET', write.result, write.completion, 'PX', digits(write.kept_ms))
  end
  leave_queue(write.ready, write.turns, write.id)
end

-- What a renewal writes is written when a third of the lease has passed: a fast stream would do little else.
local function renew(run, write)
  local now_ms = math.floor(clock(ARGV[1]) * 1000)
  local renewing = (run.due - now_ms) * 3 < write.lease_ms * 2
  if renewing then
    set_due(write.record, write.leases, write.id, now_ms + write.lease_ms, write.kept_ms)
  end
  if renewing or run.tail == 0 then
    redis.call('PEXPIRE', write.log, digits(write.kept_ms))
  end
end

local function carry_out(run, write)
  local tail = run.tail + run.new
  if write.provider ~= '' then
    redis.call('HSET', write.record, 'provider', write.provider, 'model', write.model, 'asked', write.asked)
  end
  for number = 1, run.new do
    local entry = ARGV[write.first + run.known + number - 1]
    redis.call('XADD', write.log, run.attempt .. '-' .. digits(run.tail + number), 'd', entry)
  end
  if run.new > 0 then
    redis.call('HSET', write.record, 'tail', digits(tail))
  end
  if write.status ~= '' then
    close_run(write)
  else
    renew(run, write)
  end
  if run.new > 0 or write.status ~= '' then
    ring(write.id)
  end
  return {run.standing, tail}
end
