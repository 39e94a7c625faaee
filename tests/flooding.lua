-- Sends the requests of a file at a steady rate, each as if a proxy passed on what another client has sent; prints one
-- line of JSON at the end.
--
-- Arguments: the file, whose requests are separated by NUL; how many a second; how many clients, or 0 for a new one with
-- each request. For one thread of wrk.
local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds, microseconds; } moment;
  int gettimeofday(moment *now, void *zone);
]]

local lines, rests = {}, {}
local moment = ffi.new("moment")
local clients, latest, pause, due, thread
-- `done` runs elsewhere, and asks the thread for them.
sent, answers = 0, {}

local function now()
  ffi.C.gettimeofday(moment, nil)
  return tonumber(moment.seconds) + tonumber(moment.microseconds) / 1e6
end

function setup(only)
  thread = only
end

function init(arguments)
  for text in assert(io.open(arguments[1], "rb")):read("*a"):gmatch("[^%z]+") do
    local _, stop = text:find("\r\n", 1, true)
    lines[#lines + 1], rests[#rests + 1] = text:sub(1, stop), text:sub(stop + 1)
  end
  clients = tonumber(arguments[3])
  latest = 0
  pause = 1 / tonumber(arguments[2])
  due = now()
end

-- Milliseconds that a free connection waits. What could not be sent for a second is left out.
function delay()
  local current = now()
  due = math.max(due + pause, current - 1)
  return math.max(0, math.floor((due - current) * 1000))
end

function request()
  local client = clients > 0 and math.random(clients) or latest
  local chosen = math.random(#lines)
  latest, sent = latest + 1, sent + 1
  return string.format(
    "%sX-Forwarded-For: 10.%d.%d.%d\r\n%s", lines[chosen], client / 65536 % 256, client / 256 % 256, client % 256,
    rests[chosen])
end

function response(status)
  answers[status] = (answers[status] or 0) + 1
end

function done(summary)
  local written = {}
  for status, times in pairs(thread:get("answers")) do
    written[#written + 1] = string.format('"%d":%d', status, times)
  end
  local errors = summary.errors
  io.write(string.format(
    '{"microseconds":%d,"sent":%d,"answers":{%s},"failed":%d}\n', summary.duration, thread:get("sent"),
    table.concat(written, ","), errors.connect + errors.read + errors.write + errors.timeout))
end
