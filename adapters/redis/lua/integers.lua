-- Integers as scripts take and keep them: decimal digits, and at most 2^53 - 1 either way, which doubles hold exactly.

local MAX = 9007199254740991

-- The integer that a text is, or nil. tonumber alone would take 'nan', 'inf', '0x10', '1e3' and ' 5 ', too.
local function integer(text)
  local number = type(text) == 'string' and string.match(text, '^%-?%d+$') and tonumber(text)
  if number and number >= -MAX and number <= MAX then
    return number
  end
end

-- An integer as text: tostring would give 1e+15 for a large one.
local function digits(number)
  return string.format('%.0f', number)
end

-- ARGV from one place to another as integers; an error, and so the end of the script, where one is none.
local function integers(first, last)
  local numbers = {}
  for place = first, last do
    numbers[#numbers + 1] = integer(ARGV[place]) or error('ARGV ' .. place .. ' is no integer')
  end
  return unpack(numbers)
end
