-- Rings the doorbell, on whatever replica: as keys.channel names what is rung.

local function ring(topic, message)
  redis.call('PUBLISH', 'doorbell:' .. topic, message or '')
end
