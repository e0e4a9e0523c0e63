--- What is done with the calls of a service that is not well: which rule is in force, and for whom.
--
-- The rules of a service are configuration. That one is in force is the signal `degradation/<id>`,
-- which ends by itself; it is looked up in shared memory, so that nothing here yields. One rule
-- acts on a call: the first that is in force and fits it. What is called instead is called as if it
-- had been asked for, with its own limits, breakers and price, but its own rules are not asked: a
-- call has one fallback, and goes in no circle.
local clock = require "yumen.core.clock"
local config = require "yumen.config"
local models = require "yumen.ai.models"
local paths = require "yumen.core.paths"
local request = require "yumen.core.request"
local response = require "yumen.core.response"
local signals = require "yumen.signals"
local upstreams = require "yumen.upstream.document"

local ceil, max, min = math.ceil, math.max, math.min
local find = string.find
local millis = clock.monotonic_millis
local setmetatable = setmetatable

local KIND = "degradation"
local EVENT_STREAM = "text/event-stream"
-- No timeout is made longer than this; one that is longer by itself stays as it is.
local MOST_SECONDS = 3600
local WEAK = { __mode = "k" }

local _M = {}


--- The rules of a service, false for none; kept on the document of the model or upstream, so that a
-- service without rules costs its calls one comparison.
local function rules_of(document, service)
    local generation = config.generation
    if document.degradations_at ~= generation then
        local found = config.get("degradations", service)
        document.degradations = found and #found.rules > 0 and found.rules or false
        document.degradations_at = generation
    end
    return document.degradations
end


--- The other model, when the tenant and the key may call it and it is usable.
local function other_model(ctx, id)
    local plan, name = models.plan_of(ctx.tenant, id)
    local scope = ctx.credential.scope
    if plan and not (scope and scope.models and not scope.models[name]) then
        return plan
    end
end


local function wants_stream(ctx, is_stream)
    if not ctx.route.document then
        return is_stream
    end
    local accept = request.get("http_accept")
    return (accept and find(accept, EVENT_STREAM, 1, true)) or request.wants_web_socket()
end


-- Of each action, whether it fits the call; of a fallback, what is called instead.
local FITS = {
    ["timeout-increase"] = function() return true end,
    ["feature-disable"] = function(rule, ctx, is_stream)
        local parameters = rule.parameters
        local endpoint = parameters.endpoint
        if not endpoint then
            return wants_stream(ctx, is_stream)
        end
        rule.below = rule.below or paths.below(endpoint)
        return paths.covers(endpoint, rule.below, ctx.path)
    end,
    ["fallback"] = function(rule, ctx)
        local parameters = rule.parameters
        if parameters.answer then
            return true
        elseif ctx.route.document then
            local id = parameters.upstream
            return id and id ~= ctx.upstream.id and upstreams.find(ctx.tenant, id)
        end
        return parameters.model and other_model(ctx, parameters.model)
    end,
}


--- Leave in `ctx.degraded` the rule that acts on a call, nil when none does, and return what is
-- called instead: a model's plan, an upstream's document; or nil.
-- @param document   of the model or upstream that the call is for
-- @param service    its service key
-- @param is_stream  of an AI call: whether it asks for a stream
function _M.choose(ctx, document, service, is_stream)
    local rules = rules_of(document, service)
    if not rules then
        return nil
    end
    local tenant = ctx.tenant.id
    for i = 1, #rules do
        local rule = rules[i]
        if (not rule.tenant or rule.tenant == tenant) and signals.get(KIND, rule.id) then
            local fit = FITS[rule.action](rule, ctx, is_stream)
            if fit then
                ctx.degraded = rule
                return fit ~= true and rule.action == "fallback" and fit or nil
            end
        end
    end
end


local function longer(seconds, factor)
    return min(seconds * factor, max(seconds, MOST_SECONDS))
end


--- The timeouts that a rule makes of others; kept on the rule as long as there are those.
local function scaled(rule, timeouts)
    local known = rule.scaled
    if not known then
        known = setmetatable({}, WEAK)
        rule.scaled = known
    end
    local found = known[timeouts]
    if not found then
        local factor = rule.parameters.factor
        found = {
            connect = timeouts.connect,
            send = longer(timeouts.send, factor),
            read = longer(timeouts.read, factor),
            first_byte = timeouts.first_byte and longer(timeouts.first_byte, factor),
            between_bytes = timeouts.between_bytes and longer(timeouts.between_bytes, factor),
        }
        known[timeouts] = found
    end
    return found
end


--- Give the call more time. Connecting is not waited for longer: who cannot be reached is not slow.
-- @param timeouts  those that hold for the call so far
function _M.give_time(ctx, timeouts)
    local rule = ctx.degraded
    ctx.timeouts = scaled(rule, timeouts)
    if ctx.ends_by then
        local total = ctx.route.document.timeouts.total
        ctx.ends_by = ctx.ends_by + longer(total, rule.parameters.factor) - total
    end
end


--- Refuse what is switched off, with the seconds after which it may be back. Returns status, code.
function _M.refuse(ctx)
    local signal = signals.get(KIND, ctx.degraded.id)
    local seconds = signal and ceil((signal.ends_at - millis()) / 1000) or 1
    response.set_header("Retry-After", max(1, seconds))
    return 503, "feature_disabled"
end


return _M
