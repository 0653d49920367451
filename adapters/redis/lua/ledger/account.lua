-- An account: its balance, and beside it the holds and the history. KEYS[1] to KEYS[3] are these three in every script
-- of the ledger, and ARGV[1] to ARGV[4]: now, how many entries to keep, how long to remember what ended in ms, how long
-- to keep a passing account in ms.
--
-- The hash of holds maps an id to '<amount>:<lapse, Unix ms>:<used>'. Ids have no colon, so three fields cannot be
-- mistaken for one: ':held', the sum; ':next', before which none lapses, 0 where none is open; ':balance', what the
-- ledger last wrote or found, empty without a record; ':partial', the last hold of less than was wanted, open or not.
--
-- A script validates its arguments, looks, does its work on the account, and finishes, which writes what has changed.

local now_ms = math.floor(clock(ARGV[1]) * 1000)
local kept, remembered_ms, passing_ms = integers(2, 4)
-- An entry is numbered by the server, which never goes back; only a test's clock names the time itself.
local entry_id = ARGV[1] == '' and '*' or digits(now_ms) .. '-*'

local function bounded(number)
  return math.max(-MAX, math.min(number, MAX))
end

-- What remembers how a hold has ended. In the slot of the others, since the balance's name is its tag.
local function closed_key(id)
  return '{' .. KEYS[1] .. '}:closed:' .. id
end

-- Amount and charge of a hold that has ended, and whether it lapsed, so that the rest of its cost can still be charged;
-- nil where it has not ended.
local function read_closed(id)
  local text = redis.call('GET', closed_key(id)) or ''
  local amount, charged, lapsed = string.match(text, '^(%d+):?(%d*):?(L?)$')
  return tonumber(amount), amount and (tonumber(charged) or 0), lapsed == 'L'
end

local function write_closed(id, amount, charged, state)
  local text = digits(amount) .. ':' .. digits(charged) .. (state or '')
  redis.call('SET', closed_key(id), text, 'PX', digits(remembered_ms))
end

-- Amount, lapse and what was used of a hold; nil where the text is none.
local function split(text)
  local amount, lapse, used = string.match(text or '', '^(%d+):(%d+):?(%d*)$')
  return tonumber(amount), tonumber(lapse), amount and (tonumber(used) or 0)
end

local function join(amount, lapse, used)
  return digits(amount) .. ':' .. digits(lapse) .. ':' .. digits(used)
end

-- A history is a stream. That takes 4 kB at once, so one of an account that was made up for a request begins as a list,
-- of '<id> <kind> <operation> <amount> <balance> <held>', until it is of more than a few entries or is to last.
local FEW = 8

local function is_brief()
  return redis.call('TYPE', KEYS[3]).ok == 'list'
end

-- The entry of such a text, as a stream has it.
local function spelled(text)
  local id, kind, operation, amount, balance, held = string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  return {id, {'kind', kind, 'operation', operation, 'amount', amount, 'balance', balance, 'held', held}}
end

-- All entries of a history that is a list, the earliest first.
local function spelled_out()
  local entries = redis.call('LRANGE', KEYS[3], '0', '-1')
  for place, text in ipairs(entries) do
    entries[place] = spelled(text)
  end
  return entries
end

-- The id of the last entry; nil without any.
local function last_id(brief)
  if brief then
    return string.match(redis.call('LINDEX', KEYS[3], '-1') or '', '^%S+')
  end
  local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', '1')[1]
  return last and last[1]
end

-- What a stream would number the next entry of a list.
local function next_id()
  local ms, number = string.match(last_id(true) or '', '^(%d+)-(%d+)$')
  if ms and tonumber(ms) >= now_ms then
    return ms .. '-' .. digits(tonumber(number) + 1)
  end
  return digits(now_ms) .. '-0'
end

local function become_a_stream()
  local entries = spelled_out()
  redis.call('DEL', KEYS[3])
  for _, entry in ipairs(entries) do
    redis.call('XADD', KEYS[3], entry[1], unpack(entry[2]))
  end
end

-- Adds to the history what was done, with what is there after it.
local function append(account, kind, operation, amount)
  local values = {digits(bounded(amount)), digits(account.balance or 0), digits(account.held)}
  if account.brief == nil then
    account.brief = is_brief()
  end
  if account.brief and (account.lasting or redis.call('LLEN', KEYS[3]) >= FEW) then
    become_a_stream()
    account.brief = false
  end
  if account.brief then
    redis.call('RPUSH', KEYS[3], table.concat({next_id(), kind, operation, unpack(values)}, ' '))
  else
    redis.call(
      'XADD', KEYS[3], 'MAXLEN', '~', digits(kept), entry_id, 'kind', kind, 'operation', operation,
      'amount', values[1], 'balance', values[2], 'held', values[3]
    )
  end
  account.changed = true
end

-- Records that somebody else set the balance, or deleted it. The entry before gives it an id of its own.
local function notice(account, known)
  local found, expected = account.balance or 0, known or 0
  if found ~= expected then
    append(account, 'adjust', 'set:' .. (last_id(is_brief()) or '0-0'), found - expected)
  end
  account.changed = account.changed or account.balance ~= known
end

local function charge(account, tokens)
  account.balance = math.max((account.balance or 0) - tokens, -MAX)
end

-- Charges the holds whose time is over what they have used, the earliest first.
local function lapse(account)
  local fields = redis.call('HGETALL', KEYS[2])
  local over, next_lapse = {}, 0
  for place = 1, #fields, 2 do
    local amount, at, used = split(fields[place + 1])
    if amount and at <= now_ms then
      over[#over + 1] = {id = fields[place], amount = amount, at = at, charge = math.min(used, amount)}
    elseif amount then
      next_lapse = next_lapse == 0 and at or math.min(next_lapse, at)
    end
  end
  table.sort(over, function(one, other)
    return one.at < other.at or one.at == other.at and one.id < other.id
  end)
  account.next_lapse, account.changed = next_lapse, true
  for _, hold in ipairs(over) do
    account.held = account.held - hold.amount
    if hold.charge > 0 then
      charge(account, hold.charge)
    end
    append(account, 'lapse', hold.id, hold.charge)
    redis.call('HDEL', KEYS[2], hold.id)
    write_closed(hold.id, hold.amount, hold.charge, ':L')
  end
end

-- The account, after what an operator and the time have done to it was recorded; nil where the balance is no integer,
-- and then nothing is written. Its balance is nil without a record.
local function look()
  local text = redis.call('GET', KEYS[1])
  local balance = integer(text)
  if text and not balance then
    return nil
  end
  local beside = redis.call('HMGET', KEYS[2], ':held', ':next', ':balance')
  local account = {
    balance = balance, written = balance, held = tonumber(beside[1] or 0), next_lapse = tonumber(beside[2] or 0),
  }
  notice(account, integer(beside[3]))
  if account.next_lapse > 0 and account.next_lapse <= now_ms then
    lapse(account)
  end
  return account
end

-- Lets a key beside the balance live as long as the balance; without one, as long as a passing account does.
local function align(key, until_ms)
  local own_ms = redis.call('PEXPIRETIME', key)
  if own_ms == -2 or own_ms == until_ms then
    return
  end
  if until_ms >= 0 then
    redis.call('PEXPIREAT', key, digits(until_ms))
  elseif until_ms == -1 then
    redis.call('PERSIST', key)
  elseif own_ms == -1 then
    redis.call('PEXPIRE', key, digits(passing_ms))
  end
end

-- Writes the balance. A new record is passing, unless it is said to be lasting.
local function write_balance(account)
  local text = digits(account.balance)
  if account.lasting then
    redis.call('SET', KEYS[1], text)
  elseif account.written then
    redis.call('SET', KEYS[1], text, 'KEEPTTL')
  else
    redis.call('SET', KEYS[1], text, 'PX', digits(passing_ms))
  end
end

-- Writes what has changed of an account, and returns the reply.
local function finish(account, ...)
  if not account.changed then
    return {...}
  end
  if account.balance and (account.lasting or account.balance ~= account.written) then
    write_balance(account)
  end
  if account.balance or account.held > 0 then
    local balance = account.balance and digits(account.balance) or ''
    local held, next_lapse = digits(account.held), digits(account.held > 0 and account.next_lapse or 0)
    redis.call('HSET', KEYS[2], ':held', held, ':next', next_lapse, ':balance', balance)
  else
    redis.call('DEL', KEYS[2])
  end
  local until_ms = redis.call('PEXPIRETIME', KEYS[1])
  align(KEYS[2], until_ms)
  align(KEYS[3], until_ms)
  return {...}
end

-- The same, with balance and holds: what is available is for the reader to reckon, who has integers of any width.
local function finish_with_balance(account, answer)
  return finish(account, answer, digits(account.balance or 0), digits(account.held))
end
