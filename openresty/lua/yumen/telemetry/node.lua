--- What a node counts, in its shared memory: `yumen_telemetry` holds "<kind><number>" -> id and
-- "<kind><number>/<i>" -> count, only rising; `yumen_load` what is under way in each process.
local clock = require "yumen.core.clock"
local layout = require "contract.telemetry"
local node = require "yumen.core.node"

local concat = table.concat
local format = string.format
local gmatch = string.gmatch
local max, min = math.max, math.min
local sleep = ngx.sleep
local tonumber = tonumber

local dict = ngx.shared.yumen_telemetry
local loads = ngx.shared.yumen_load

local LOAD_SECONDS = 3              -- a process that says nothing for so long is gone
local READ_AT_ONCE = 1400           -- numbers, between which requests are served
local PAUSE_SECONDS = 0.001
local OUTCOMES = #layout.outcomes
local COUNTS = OUTCOMES + #layout.sums + #layout.bounds_us + 1
local OTHER = "other"
local BOOT = "boot"

local PLACES = {}                   -- place from 1 -> the end of its name
for i = 1, COUNTS do PLACES[i] = "/" .. (i - 1) end

local _M = {
    COUNTS = COUNTS,
    OTHER = OTHER,
    services = { letter = "s", setting = "counted_services" },
    tenants = { letter = "t", setting = "counted_tenants" },
}


--- In nginx's master: what stands in shared memory counts from here on, also through reloads.
function _M.init()
    dict:add(BOOT, clock.micros())
end


--- The node's number of an id, given once; 0 is all that came after the last one.
function _M.number_of(kind, id)
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


--- Add to a number of the node.
function _M.add(name, value)
    dict:incr(name, value, 0)
end


--- What is under way in this process, for a while.
-- @param text  how busy it is; "worker=<id>", then "<level>=<number>", "<service number>=<calls>"
-- @return      as shared dictionaries do
function _M.tell_load(text)
    return loads:set(ngx.worker.pid(), text, LOAD_SECONDS)
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
            for number, calls in gmatch(text, " (%d+)=(%d+)") do
                number = tonumber(number)
                in_flight[number] = (in_flight[number] or 0) + tonumber(calls)
            end
        end
    end
    return load, in_flight
end


--- What each worker says: worker's id -> its load, 0 to 1; and level -> its sum over all of them.
function _M.levels()
    local busy, levels = {}, {}
    for _, pid in ipairs(loads:get_keys(0)) do
        local text = loads:get(pid)
        if text then
            busy[tonumber(text:match("worker=(%d+)"))] = tonumber(text:match("^[%d.]+"))
            for name, number in gmatch(text, " (%a+)=(%d+)") do
                levels[name] = (levels[name] or 0) + tonumber(number)
            end
        end
    end
    return busy, levels
end


--- Whether anything was counted that has no number of its own.
local function has_others(kind)
    for i = 0, OUTCOMES - 1 do
        if dict:get(kind.letter .. "0/" .. i) then
            return true
        end
    end
    return false
end


--- Call `visit(id, counts, in_flight)` for each service or tenant that the node knows; `counts` is
-- a list that is used again, by its places from 1. May yield.
-- @param first, last  which places of `counts` are needed; nil is all
function _M.each(kind, visit, first, last)
    first, last = first or 1, last or COUNTS
    local counts, read = {}, 0
    local _, in_flight = _M.loads()
    for number = 0, min(dict:get(kind.letter) or 0, node[kind.setting] or 0) do
        local id = number == 0 and has_others(kind) and OTHER or dict:get(kind.letter .. number)
        if id then
            local name = kind.letter .. number
            for i = first, last do
                counts[i] = dict:get(name .. PLACES[i]) or 0
            end
            visit(id, counts, kind == _M.services and in_flight[number] or 0)
        end
        read = read + last - first + 2
        if read >= READ_AT_ONCE then
            read = 0
            sleep(PAUSE_SECONDS)
        end
    end
end


--- Code -> how often the gateway answered with it.
-- @param codes  code -> true: those to look for
function _M.refusals(codes)
    local found = {}
    for code in pairs(codes) do
        found[code] = dict:get("c:" .. code)
    end
    found[OTHER] = dict:get("c:" .. OTHER)
    return found
end


--- How often what has that name happened.
function _M.events(name)
    return dict:get("e:" .. name) or 0
end


local SERVICE = '"%s":{"counts":[%s],"inFlight":%d}'
local SNAPSHOT = '{"boot":%d,"seenAt":%d,"busy":%.3f,"services":{%s}}'


--- What this node says of its services in Redis, JSON. May yield.
function _M.snapshot()
    local parts, texts = {}, {}
    _M.each(_M.services, function(id, counts, in_flight)
        for i = 1, COUNTS do
            texts[i] = format("%d", counts[i])
        end
        parts[#parts + 1] = SERVICE:format(id, concat(texts, ","), in_flight)
    end)
    return SNAPSHOT:format(_M.boot(), clock.millis(), (_M.loads()), concat(parts, ","))
end


return _M
