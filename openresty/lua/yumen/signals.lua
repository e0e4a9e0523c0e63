--- Signals: short-lived facts that nodes and the control plane tell each other through Redis.
--
-- Worker 0 reads them all when it connects, then follows their stream, and keeps them in shared
-- memory for as long as they hold. While Redis is away, what is known goes on to hold until its
-- end. Nobody asks Redis during a request; whoever publishes does so from a timer.
local clock = require "yumen.core.clock"
local json = require "yumen.core.json"
local keys = require "contract.keys"
local log = require "yumen.core.log"
local node = require "yumen.core.node"
local redis_client = require "yumen.core.redis"
local redis_session = require "yumen.core.redis_session"
local scripts = require "contract.signals"

local find = string.find
local max = math.max
local millis = clock.monotonic_millis
local null = redis_client.null
local sub = string.sub
local tonumber = tonumber

local dict = ngx.shared.yumen_signals

local BLOCK_MS = 1000
local TIMEOUT_MS = BLOCK_MS + 2000
local ENTRIES = 100
local VERSION = "~version"
-- What has ended is known a little longer, so that nothing older takes its place.
local MEMORY_SECONDS = 60

local _M = {}

local listeners = {}                   -- kind -> functions
local known, known_version = {}, nil   -- kind -> id -> signal, false for none; of this worker


--- Call `listener(id, signal, seconds)` in worker 0 for each signal of a kind that comes in:
-- `seconds` is how long it still holds, 0 when it is over. The same one may come again.
function _M.listen(kind, listener)
    local list = listeners[kind] or {}
    listeners[kind] = list
    list[#list + 1] = listener
end


local function generation_of(name)
    local text = dict:get(name)
    return text and json.decode(text).generation or 0
end


--- Take on one signal.
-- @param now  Redis' Unix milliseconds when it was sent
local function take(name, text, now)
    local signal = json.decode(text)
    local _, slash = find(name, "/", 1, true)
    if not signal or not slash or signal.generation < generation_of(name) then
        return
    end
    local seconds = max(0, (signal["until"] - now) / 1000)
    signal.ends_at = millis() + seconds * 1000
    if not dict:safe_set(name, json.encode(signal), seconds + MEMORY_SECONDS) then
        log.error("no memory for the signal ", name)
    end
    dict:incr(VERSION, 1, 0)
    for _, listener in ipairs(listeners[sub(name, 1, slash - 1)] or {}) do
        listener(sub(name, slash + 1), signal, seconds)
    end
end


--- Read all signals; returns the id of the stream's entry to follow from.
local function read_all(redis)
    local reply = assert(redis:eval(scripts.read, 2, keys.signals_state, keys.signals))
    for i = 3, #reply, 2 do
        take(reply[i], reply[i + 1], reply[1])
    end
    return reply[2]
end


--- One wait for news after the entry `last`; returns the newest one's id.
local function turn(redis, last)
    local reply = assert(redis:xread("COUNT", ENTRIES, "BLOCK", BLOCK_MS, "STREAMS", keys.signals,
                                     last))
    if reply == null then
        return last
    end
    for _, entry in ipairs(reply[1][2]) do
        last = entry[1]
        -- {id, {"name", name, "signal", text}}; an id begins with Redis' Unix milliseconds.
        take(entry[2][2], entry[2][4], tonumber(last:match("^%d+")))
    end
    return last
end


local function look_up(kind, id)
    local text = dict:get(kind .. "/" .. id)
    return text and json.decode(text) or false
end


--- What holds now: {value, until, generation, by}; or nil. The same table until it changes.
function _M.get(kind, id)
    local version = dict:get(VERSION)
    if version ~= known_version then
        known, known_version = {}, version
    end
    local of_kind = known[kind]
    if not of_kind then
        of_kind = {}
        known[kind] = of_kind
    end
    local signal = of_kind[id]
    if signal == nil then
        signal = look_up(kind, id)
        of_kind[id] = signal
    end
    return signal and signal.ends_at > millis() and signal or nil
end


--- Publish over a connection: that `value` holds for `seconds`, 0 to end it.
-- @param replacing  the generation that may be replaced, 0 for none that lives; nil is any
-- @return           whether it was published; the signal that stands now; for how many seconds
function _M.publish_on(redis, kind, id, value, seconds, replacing)
    assert(scripts.kinds[kind], "unknown kind of signal")
    local reply = assert(redis:eval(scripts.publish, 2, keys.signals_state, keys.signals,
                                    kind .. "/" .. id, json.encode(value),
                                    ("%.0f"):format(seconds * 1000), node.node,
                                    replacing and ("%.0f"):format(replacing) or ""))
    local signal = json.decode(reply[3])
    return reply[1] == 1, signal, max(0, (signal["until"] - reply[2]) / 1000)
end


--- Publish over a connection of its own, from a timer.
-- @return  as `publish_on`; or nil, err when Redis is away
function _M.publish(kind, id, value, seconds, replacing)
    local redis, err = redis_client.connect(node.redis)
    if not redis then
        return nil, err
    end
    local ok, published, signal, holds = pcall(_M.publish_on, redis, kind, id, value, seconds,
                                               replacing)
    if not ok then
        redis:close()
        return nil, published
    end
    redis_client.release(redis)
    return published, signal, holds
end


--- In each worker, once.
function _M.init_worker()
    if ngx.worker.id() == 0 then
        redis_session.keep("signals", TIMEOUT_MS, read_all, turn)
    end
end


return _M
