--- The time: of the event loop where milliseconds do, of the kernel where they do not.
local ffi = require "ffi"

local C = ffi.C
local floor = math.floor
local tonumber = tonumber

ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } yumen_timespec;
int clock_gettime(int clock, yumen_timespec *now);
]]

local BOOTTIME = 7

local now = ffi.new("yumen_timespec")

local _M = {
    --- Whole Unix seconds, as of this turn of the event loop.
    seconds = ngx.time,
}


--- Unix microseconds, a number.
function _M.micros()
    C.clock_gettime(0, now)
    return tonumber(now.seconds) * 1e6 + floor(tonumber(now.nanoseconds) / 1e3)
end


--- Milliseconds since this machine was started, a whole number: nobody sets this clock, and it goes
-- on while the machine sleeps.
function _M.steady_millis()
    C.clock_gettime(BOOTTIME, now)
    return tonumber(now.seconds) * 1e3 + floor(tonumber(now.nanoseconds) / 1e6)
end


--- Unix milliseconds, a whole number.
function _M.millis()
    C.clock_gettime(0, now)
    return tonumber(now.seconds) * 1e3 + floor(tonumber(now.nanoseconds) / 1e6)
end


--- Milliseconds of a clock that nobody sets, the same in all processes of this machine.
function _M.monotonic_millis()
    C.clock_gettime(1, now)
    return tonumber(now.seconds) * 1e3 + floor(tonumber(now.nanoseconds) / 1e6)
end


return _M
