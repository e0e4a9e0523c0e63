--- Counts what becomes of calls, by service and by tenant.
--
-- A worker counts in its own memory, which costs a request next to nothing, and adds that to the
-- node's memory (`telemetry/node.lua`) each second. A worker that is killed loses a second of it.
-- What is under way is said for each process, and goes with it.
local clock = require "yumen.core.clock"
local counted = require "yumen.telemetry.node"
local ffi = require "ffi"
local layout = require "contract.telemetry"
local log = require "yumen.core.log"

local concat = table.concat
local cpu_seconds = os.clock
local exiting = ngx.worker.exiting
local format = string.format
local max, min = math.max, math.min
local micros = clock.micros
local timer_at = ngx.timer.at

local EVERY_SECONDS = 1
local OUTCOMES, SUMS, BOUNDS = #layout.outcomes, #layout.sums, layout.bounds_us
local BUCKETS = OUTCOMES + SUMS     -- index of the first bucket
local COUNTS, OTHER = counted.COUNTS, counted.OTHER

local counts_type = ffi.typeof("double[?]")
local index = {}                    -- outcome or sum -> its place among the counts
for i, name in ipairs(layout.outcomes) do index[name] = i - 1 end
for i, name in ipairs(layout.sums) do index[name] = OUTCOMES + i - 1 end
local REQUEST_BYTES, RESPONSE_BYTES = index.request_bytes, index.response_bytes
local TOKENS_IN, TOKENS_OUT = index.tokens_in, index.tokens_out
local WAIT_US = index.wait_us

local _M = {
    --- What else is under way in this worker; those who begin and end it add and subtract.
    levels = { streams = 0, sockets = 0 },
}

local levels = _M.levels

local draining                      -- this worker finishes: nothing calls `flush` any more
local touched = {}                  -- entries with counts that the node does not know yet
local refusals, has_refusals = {}, false
local events, has_events = {}, false
local codes                         -- code -> true: which may have a number of their own


local function new_kind(kind)
    return { letter = kind.letter, setting = kind.setting, entries = {} }
end

local services, tenants = new_kind(counted.services), new_kind(counted.tenants)


local function new_entry(kind, number)
    local names = {}
    for i = 0, COUNTS - 1 do
        names[i] = kind.letter .. number .. "/" .. i
    end
    return { counts = ffi.new(counts_type, COUNTS), names = names, number = number,
             in_flight = 0, touched = false }
end


local function enter(kind, id)
    local number = counted.number_of(kind, id)
    if number == 0 then
        -- Not kept by its id: there may be any number of those.
        kind.other = kind.other or new_entry(kind, 0)
        return kind.other
    end
    local entry = new_entry(kind, number)
    kind.entries[id] = entry
    return entry
end


local function touch(entry)
    if not entry.touched then
        entry.touched = true
        touched[#touched + 1] = entry
    end
end


--- The text of a search among the bounds from `low` to `high`. It is written out, as a loop in it
-- would keep LuaJIT from compiling everything around it.
local function search(low, high)
    if low == high then
        return "return " .. BUCKETS + low - 1 .. " "
    end
    local middle = (low + high - (low + high) % 2) / 2
    return format("if us <= %.0f then %s else %s end ", BOUNDS[middle], search(low, middle),
                  search(middle + 1, high))
end


--- The index of the bucket of a wait.
local bucket_of = loadstring("local us = ... " .. search(1, #BOUNDS + 1), "=buckets")
_M.bucket_of = bucket_of


local function count(entry, ctx, place, wait_us)
    local counts = entry.counts
    counts[place] = counts[place] + 1
    counts[REQUEST_BYTES] = counts[REQUEST_BYTES] + (ctx.request_bytes or 0)
    counts[RESPONSE_BYTES] = counts[RESPONSE_BYTES] + (ctx.response_bytes or 0)
    counts[TOKENS_IN] = counts[TOKENS_IN] + (ctx.tokens_in or 0)
    counts[TOKENS_OUT] = counts[TOKENS_OUT] + (ctx.tokens_out or 0)
    if wait_us then
        counts[WAIT_US] = counts[WAIT_US] + wait_us
        local bucket = bucket_of(wait_us)
        counts[bucket] = counts[bucket] + 1
    end
    touch(entry)
end


--- Add to the node's memory what this worker has counted since the last time.
local function flush()
    for i = 1, #touched do
        local entry = touched[i]
        touched[i] = nil
        entry.touched = false
        local counts, names = entry.counts, entry.names
        for place = 0, COUNTS - 1 do
            local value = counts[place]
            if value ~= 0 then
                counts[place] = 0
                counted.add(names[place], value)
            end
        end
    end
    if has_refusals then
        has_refusals = false
        for code, number in pairs(refusals) do
            if number > 0 then
                refusals[code] = 0
                counted.add("c:" .. code, number)
            end
        end
    end
    if has_events then
        has_events = false
        for name, number in pairs(events) do
            events[name] = 0
            counted.add("e:" .. name, number)
        end
    end
end
_M.flush = flush


--- A call goes to its service now.
function _M.begin(ctx)
    local id = ctx.service
    local entry = services.entries[id] or enter(services, id)
    entry.in_flight = entry.in_flight + 1
    ctx.in_flight = entry
    if ctx.stream then
        levels.streams = levels.streams + 1
    end
end


--- A call is over.
-- @param outcome  one of the contract's
-- @param wait_us  how long its answer was waited for; nil when nobody waited
function _M.finish(ctx, outcome, wait_us)
    local place = index[outcome]
    local id, tenant = ctx.service, ctx.tenant
    count(services.entries[id] or enter(services, id), ctx, place, wait_us)
    count(tenants.entries[tenant.id] or enter(tenants, tenant.id), ctx, place, wait_us)
    local entry = ctx.in_flight
    if entry then
        entry.in_flight = entry.in_flight - 1
        if ctx.stream then
            levels.streams = levels.streams - 1
        end
    end
    if draining then
        flush()
    end
end


--- The gateway answered with one of its codes.
function _M.refuse(code)
    if not codes[code] then
        code = OTHER
    end
    refusals[code] = (refusals[code] or 0) + 1
    has_refusals = true
    if draining then
        flush()
    end
end


--- Something happened that is counted by its name alone.
-- @param name  one of those that `metrics.lua` tells
function _M.note(name)
    events[name] = (events[name] or 0) + 1
    has_events = true
    if draining then
        flush()
    end
end


local last_cpu, last_micros


--- What of its time this process spent on the CPU since the last time, 0 to 1.
local function busy()
    local cpu, now = cpu_seconds(), micros()
    local share = max(0, min(1, (cpu - last_cpu) / max(1e-3, (now - last_micros) / 1e6)))
    last_cpu, last_micros = cpu, now
    return share
end


local function report()
    local parts = { format("%.3f worker=%d streams=%d sockets=%d", busy(), ngx.worker.id(),
                           levels.streams, levels.sockets) }
    for _, entry in pairs(services.entries) do
        if entry.in_flight > 0 then
            parts[#parts + 1] = entry.number .. "=" .. entry.in_flight
        end
    end
    local other = services.other
    if other and other.in_flight > 0 then
        parts[#parts + 1] = "0=" .. other.in_flight
    end
    local ok, err = counted.tell_load(concat(parts, " "))
    if not ok then
        log.warn("telemetry: ", err)
    end
end


local function tick(premature)
    local ok, err = pcall(flush)
    if premature or exiting() then
        draining = true
        return
    end
    if ok then
        ok, err = pcall(report)
    end
    if not ok then
        log.error("telemetry: ", err)
    end
    timer_at(EVERY_SECONDS, tick)
end


--- In nginx's master.
_M.init = counted.init


--- In each worker, once.
-- @param known_codes  code -> true
function _M.init_worker(known_codes)
    codes = known_codes
    last_cpu, last_micros = cpu_seconds(), micros()
    timer_at(EVERY_SECONDS, tick)
end


return _M
