--- The breakers of this node: what its workers share, and what the fleet agrees on.
--
-- A closed breaker costs a call one look-up and, at its end, one addition in shared memory. Only
-- what changes is told to other nodes, from a timer; the one call in a while that asks for the
-- fleet's trial waits for Redis, a tenth of a second at most.
local cache = require "yumen.core.cache"
local clock = require "yumen.core.clock"
local config = require "yumen.config"
local core = require "yumen.breaker"
local fleet = require "yumen.breaker.fleet"
local node_status = require "yumen.node_status"
local outcome = require "yumen.breaker.outcome"
local paths = require "yumen.core.paths"
local request = require "yumen.core.request"
local signals = require "yumen.signals"
local states = require "yumen.breaker.state"
local telemetry = require "yumen.telemetry"

local ceil, max = math.ceil, math.max
local ipairs = ipairs
local millis = clock.monotonic_millis
local random = math.random

local texts = ngx.shared.yumen_breakers
local numbers = ngx.shared.yumen_breaker_counts

local KNOWN_ABSENT = 5000
local LOCK_SECONDS = 1
local MOST_TOLD = 1000

local _M = {}

local absent = cache.new(KNOWN_ABSENT)     -- service key -> the generation without breakers


local store = {
    read = function(id) return (texts:get(id)) end,
    write = function(id, text, seconds) return (texts:safe_set(id, text, seconds)) end,
    get = function(key) return (numbers:get(key)) end,
    incr = function(key, by, seconds) return numbers:incr(key, by, 0, seconds) or 0 end,
    delete = function(key) numbers:delete(key) end,
    lock = function(key) return (numbers:add(key, true, LOCK_SECONDS)) end,
    unlock = function(key) numbers:delete(key) end,
    chance = random,
}


--- This worker's view of a rule of a document.
local function view(rule, index)
    local counted = {}
    for _, status in ipairs(rule.countedStatuses) do
        counted[status] = true
    end
    local endpoint = rule.endpoint
    return {
        breaker = core.new(rule, store),
        rule = rule,
        tenant = rule.tenant,
        endpoint = endpoint,
        below = endpoint and paths.below(endpoint),
        counted = counted,
        slow = rule.slowCallMilliseconds,
        -- Fields of ctx, so that a call needs no table of its own.
        generation = "breaker_" .. index,
        lease = "breaker_lease_" .. index,
    }
end


--- The views of a service's breakers, kept on their document; nil when it has none.
local function views_of(service)
    if absent:get(service) == config.generation then
        return nil
    end
    local document = config.get("breakers", service)
    if not document then
        absent:set(service, config.generation)
        return nil
    end
    local views = document.views
    if not views then
        views = {}
        for index, rule in ipairs(document.breakers) do
            if rule.mode ~= "disabled" then
                views[#views + 1] = view(rule, index)
            end
        end
        document.views = views
    end
    return views
end


local function is_about(one, ctx)
    local tenant, endpoint = one.tenant, one.endpoint
    if tenant and tenant ~= ctx.tenant.id then
        return false
    end
    return not endpoint or paths.covers(endpoint, one.below, ctx.path)
end


--- Let a call through one breaker. May yield.
-- @return  nothing; or milliseconds to wait
local function pass(one, ctx)
    local breaker = one.breaker
    if one.rule.mode == "forcedOpen" then
        return breaker.reset
    end
    local generation, other = core.admit(breaker, millis())
    if not generation and other == 0 then
        if fleet.ask(breaker) then
            generation, other = core.admit(breaker, millis())
        else
            other = fleet.WAIT_MS
        end
    end
    if not generation then
        return max(other, fleet.WAIT_MS)
    end
    ctx[one.generation], ctx[one.lease] = generation, other
end


--- Let a call through every breaker that is about it. May yield.
-- @return  nothing; or whole seconds after which it is worth trying again
function _M.admit(ctx)
    local service = ctx.service
    local views = service and views_of(service)
    if not views then
        return nil
    end
    ctx.breakers = views
    for i = 1, #views do
        local one = views[i]
        local wait = is_about(one, ctx) and pass(one, ctx)
        if wait then
            return ceil(wait / 1000)
        end
    end
    ctx.sent_ms = millis()
end


--- The breakers that are about a call, without asking them: list of {id, mode, endpoint, tenant}.
function _M.about(ctx)
    local found = {}
    for _, one in ipairs(ctx.service and views_of(ctx.service) or {}) do
        if is_about(one, ctx) then
            local rule = one.rule
            found[#found + 1] = { id = rule.id, mode = rule.mode, endpoint = rule.endpoint,
                                  tenant = rule.tenant, resetTimeout = rule.resetTimeout }
        end
    end
    return found
end


local function report(ctx, one, generation, now)
    local lease = ctx[one.lease]
    local result = "neutral"
    local is_slow = false
    if ctx.sent_ms then
        result = outcome.of(ctx, one.counted, request.completion)
        is_slow = one.slow and (ctx.answered_ms or now) - ctx.sent_ms > one.slow
    end
    local new = core.report(one.breaker, now, generation, lease, result, is_slow)
    if new then
        if new.status == states.OPEN then
            telemetry.note("breaker_opened")
        end
        fleet.announce(one.breaker, new)
    end
end


--- The head of the upstream's answer is here.
function _M.answered(ctx)
    ctx.answered_ms = millis()
end


--- Tell the breakers that let a call through how it ended.
function _M.report(ctx)
    local now
    local views = ctx.breakers
    for i = 1, #views do
        local one = views[i]
        local generation = ctx[one.generation]
        if generation then
            now = now or millis()
            report(ctx, one, generation, now)
        end
    end
end


--- What this node's breakers are, those that nothing has happened to for an hour left out:
-- id -> {status, since (Unix milliseconds), reason, generation}.
function _M.status()
    local found = {}
    local offset = clock.millis() - millis()
    for _, id in ipairs(texts:get_keys(MOST_TOLD)) do
        local text = texts:get(id)
        if text then
            local state = states.decode(text)
            found[id] = { status = state.status, since = state.since + offset,
                          reason = state.reason, generation = state.generation }
        end
    end
    return found
end


--- In each worker, once.
function _M.init_worker()
    math.randomseed(clock.micros() % 2147483647 + ngx.worker.pid())
    node_status.add("breakers", _M.status)
    signals.listen("breaker", function(id, signal, seconds)
        fleet.follow({ id = id, store = store }, signal, seconds)
    end)
end


return _M
