-- Asks for the paths in a file, one after the other; prints one line of JSON at the end.
local requests = {}
local asked = 0
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(arguments)
  for path in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("GET", path)
  end
  -- Each thread begins somewhere else.
  asked = math.floor(#requests / 2) * number
end

function request()
  asked = asked + 1
  return requests[asked % #requests + 1]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"microseconds":%d,"errors":%d,"p99":%d}\n', summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout, latency:percentile(99)))
end
