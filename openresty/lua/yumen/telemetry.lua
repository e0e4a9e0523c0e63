--- Counts what becomes of calls, by service and by tenant.
--
-- A worker counts in its own memory, which costs a request next to nothing, and adds that to the
-- node's memory each second: `yumen_telemetry` holds "<kind><number>" -> id and
-- "<kind><number>/<i>" -> count, only rising. A worker that is killed loses a second of it. What is
-- under way stands in `yumen_load` for each process, and goes with it.
local clock = require "yumen.core.clock"
local ffi = require "ffi"
local layout = require "contract.telemetry"
local log = require "yumen.core.log"
local node = require "yumen.core.node"

local concat = table.concat
local cpu_seconds = os.clock
local exiting = ngx.worker.exiting
local format = string.format
local gmatch = string.gmatch
local max, min = math.max, math.min
local micros = clock.micros
local sleep = ngx.sleep
local timer_at = ngx.timer.at
local tonumber = tonumber

local dict = ngx.shared.yumen_telemetry
local loads = ngx.shared.yumen_load

local EVERY_SECONDS = 1
local LOAD_SECONDS = 3              -- a process that says nothing for so long is gone
local READ_AT_ONCE = 50             -- entries, between which requests are served
local OUTCOMES, SUMS, BOUNDS = #layout.outcomes, #layout.sums, layout.bounds_us
local BUCKETS = OUTCOMES + SUMS     -- index of the first bucket
local COUNTS = BUCKETS + #BOUNDS + 1
local OTHER = "other"
local BOOT = "boot"

local counts_type = ffi.typeof("double[?]")
local index = {}                    -- outcome or sum -> its place among the counts
for i, name in ipairs(layout.outcomes) do index[name] = i - 1 end
for i, name in ipairs(layout.sums) do index[name] = OUTCOMES + i - 1 end
local REQUEST_BYTES, RESPONSE_BYTES = index.request_bytes, index.response_bytes
local TOKENS_IN, TOKENS_OUT = index.tokens_in, index.tokens_out
local WAIT_US = index.wait_us

local _M = { COUNTS = COUNTS }

local draining                      -- this worker finishes: nothing calls `flush` any more
local touched = {}                  -- entries with counts that the node does not know yet
local refusals, has_refusals = {}, false
local codes                         -- code -> true: which may have a number of their own


local function new_kind(letter, setting)
    return { letter = letter, setting = setting, entries = {}, known = 0 }
end

local services = new_kind("s", "counted_services")
local tenants = new_kind("t", "counted_tenants")
_M.services, _M.tenants = services, tenants


--- The node's number of an id, given once; 0 is all that came after the last one.
local function number_of(kind, id)
    local name = kind.letter .. ":" .. id
    local number = dict:get(name)
    if number then
        return number
    end
    local most = node[kind.setting] or 0
    if (dict:get(kind.letter) or 0) >= most then
        return 0
    end
    number = dict:incr(kind.letter, 1, 0)
    if number > most then
        return 0
    end
    if not dict:add(name, number) then
        return dict:get(name)        -- another worker was first; this number stays unused
    end
    dict:set(kind.letter .. number, id)
    return number
end


local function new_entry(kind, number)
    local names = {}
    for i = 0, COUNTS - 1 do
        names[i] = kind.letter .. number .. "/" .. i
    end
    return { counts = ffi.new(counts_type, COUNTS), names = names, number = number,
             in_flight = 0, touched = false }
end


local function enter(kind, id)
    local number = number_of(kind, id)
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


local function bucket_of(wait_us)
    local low, high = 1, #BOUNDS + 1
    while low < high do
        local middle = (low + high - (low + high) % 2) / 2
        if wait_us <= BOUNDS[middle] then
            high = middle
        else
            low = middle + 1
        end
    end
    return BUCKETS + low - 1
end
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
                dict:incr(names[place], value, 0)
            end
        end
    end
    if has_refusals then
        has_refusals = false
        for code, number in pairs(refusals) do
            if number > 0 then
                refusals[code] = 0
                dict:incr("c:" .. code, number, 0)
            end
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


local last_cpu, last_micros


--- What of its time this process spent on the CPU since the last time, 0 to 1.
local function busy()
    local cpu, now = cpu_seconds(), micros()
    local share = max(0, min(1, (cpu - last_cpu) / max(1e-3, (now - last_micros) / 1e6)))
    last_cpu, last_micros = cpu, now
    return share
end


local function report()
    local parts = { format("%.3f", busy()) }
    for _, entry in pairs(services.entries) do
        if entry.in_flight > 0 then
            parts[#parts + 1] = entry.number .. "=" .. entry.in_flight
        end
    end
    local other = services.other
    if other and other.in_flight > 0 then
        parts[#parts + 1] = "0=" .. other.in_flight
    end
    local ok, err = loads:set(ngx.worker.pid(), concat(parts, " "), LOAD_SECONDS)
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


--- In nginx's master: what stands in shared memory counts from here on, also through reloads.
function _M.init()
    dict:add(BOOT, clock.micros())
end


--- In each worker, once.
-- @param known_codes  code -> true
function _M.init_worker(known_codes)
    codes = known_codes
    last_cpu, last_micros = cpu_seconds(), micros()
    timer_at(EVERY_SECONDS, tick)
end


--- Since when this node counts, Unix microseconds; another one means that all began at 0 again.
function _M.boot()
    return dict:get(BOOT)
end


--- The load of the busiest worker, 0 to 1, and service number -> calls under way.
function _M.loads()
    local load, in_flight = 0, {}
    for _, pid in ipairs(loads:get_keys(0)) do
        local text = loads:get(pid)
        if text then
            load = max(load, tonumber(text:match("^[%d.]+")))
            for number, calls in gmatch(text, "(%d+)=(%d+)") do
                number = tonumber(number)
                in_flight[number] = (in_flight[number] or 0) + tonumber(calls)
            end
        end
    end
    return load, in_flight
end


--- Call `visit(id, counts, in_flight)` for each service or tenant that the node knows; `counts` is
-- a list that is used again. May yield.
function _M.each(kind, visit)
    local counts = {}
    local _, in_flight = _M.loads()
    local last = min(dict:get(kind.letter) or 0, node[kind.setting] or 0)
    for number = 0, last do
        local id = number == 0 and OTHER or dict:get(kind.letter .. number)
        local calls = 0
        for i = 0, id and COUNTS - 1 or -1 do
            local value = dict:get(kind.letter .. number .. "/" .. i) or 0
            counts[i + 1] = value
            calls = calls + (i < OUTCOMES and value or 0)
        end
        if id and (number > 0 or calls > 0) then
            visit(id, counts, kind == services and in_flight[number] or 0)
        end
        if number % READ_AT_ONCE == READ_AT_ONCE - 1 then
            sleep(0)
        end
    end
end


--- Code -> how often the gateway answered with it.
function _M.refusals()
    local found = {}
    for code in pairs(codes) do
        found[code] = dict:get("c:" .. code)
    end
    found[OTHER] = dict:get("c:" .. OTHER)
    return found
end


local SERVICE = '"%s":{"counts":[%s],"inFlight":%d}'
local SNAPSHOT = '{"boot":%d,"seenAt":%d,"busy":%.3f,"services":{%s}}'


--- What this node says of its services in Redis, JSON. May yield.
function _M.snapshot()
    local parts, texts = {}, {}
    _M.each(services, function(id, counts, in_flight)
        for i = 1, COUNTS do
            texts[i] = format("%d", counts[i])
        end
        parts[#parts + 1] = SERVICE:format(id, concat(texts, ","), in_flight)
    end)
    return SNAPSHOT:format(_M.boot(), clock.millis(), (_M.loads()), concat(parts, ","))
end


return _M
