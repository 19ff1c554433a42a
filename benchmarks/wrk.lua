-- Posts each request of a file once, over connections that stay open, and stops in time to read every answer: what the
-- server has done is then what is counted. wrk -s wrk.lua URL -- FILE SECONDS

local ffi = require("ffi")
ffi.cdef("typedef struct { long seconds; long microseconds; } moment; int gettimeofday(moment *, void *);")
local moment = ffi.new("moment")

local function now()
  ffi.C.gettimeofday(moment, nil)
  return tonumber(moment.seconds) + tonumber(moment.microseconds) / 1e6
end

local NEVER = 1e9
local requests, sent, checked, lasting = {}, 0, false, 0
-- Read by done(), which runs in another state.
began, ended = 0, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for length in function() return file:read("*l") end do
    requests[#requests + 1] = file:read(tonumber(length))
  end
  file:close()
  lasting = tonumber(args[2])
end

function request()
  if not checked then
    -- wrk only looks at this one, and does not send it.
    checked = true
    return requests[1]
  end
  if sent == 0 then began = now() end
  sent = sent + 1
  return requests[sent]
end

-- Asked after each answer, and once before a connection's first request: how long it is to wait now, in ms.
function delay()
  if sent == 0 then return 0 end
  ended = now()
  -- Those that wait for their turn to send have been let through already.
  if ended - began >= lasting or sent + 64 > #requests then return NEVER end
  return 0
end

local threads = {}
function setup(thread) threads[#threads + 1] = thread end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  local seconds = threads[1]:get("ended") - threads[1]:get("began")
  io.write(string.format('\n{"answered": %d, "seconds": %.6f, "refused": %d, "failed": %d}\n',
    summary.requests, seconds, errors.status, failed))
end
