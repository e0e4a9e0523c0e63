--- Tells step by step what would become of a request instead of forwarding it: `yumen check`.
--
-- A gateway whose node.json has `explain` does nothing else: it knows no Redis, keeps no journal,
-- asks no peer how it is, and listens to nobody but who knows its secret. Each policy is asked as
-- ever, down to where the request would go; one that would take of something shared has a function
-- `explain`, which says what it would look at.
local clock = require "yumen.core.clock"
local config = require "yumen.config"
local dialect = require "yumen.dialect"
local ids = require "yumen.core.ids"
local json = require "yumen.core.json"
local node = require "yumen.core.node"
local request = require "yumen.core.request"
local response = require "yumen.core.response"
local signals = require "yumen.signals"
local upstream = require "yumen.upstream"

local find, match = string.find, string.match
local ipairs, pairs = ipairs, pairs

-- Below it, policies only keep account of a call that is made.
local LEAST_PRIORITY = 501

local _M = {}


local function described(credential)
    if credential.user then
        return { kind = "token", user = credential.user }
    elseif credential.id then
        return { kind = "key", id = credential.id }
    end
    return { kind = "none" }
end


local function destination(_, ctx)
    local names = {}
    for i, peer in ipairs(ctx.target.peers) do
        names[i] = peer.name
    end
    local scheme, path = match(request.get("yumen_url") or "", "^(%a+)://[^/]+(.*)$")
    return { scheme = scheme, address = ctx.peer, port = ctx.peer_port, path = path,
             host = ctx.upstream_host, peers = names, upstream = ctx.upstream and ctx.upstream.id }
end


--- What a policy may find out: field of ctx -> how it is shown.
local FOUND = {
    credential = described,
    model = function(model) return { name = model.name, id = model.id } end,
    service = function(service) return service end,
    degraded = function(rule) return { rule = rule.name, action = rule.action } end,
    forwarded = destination,
}
local NAMES = { forwarded = "destination" }


local function known(ctx)
    local found = {}
    for name in pairs(FOUND) do
        found[name] = ctx[name]
    end
    return found
end


local function note(ctx, step)
    ctx.steps = ctx.steps or {}
    ctx.steps[#ctx.steps + 1] = step
    return step
end


--- Whether a policy is about calls of the other kind, of models or of a tenant's own routes.
local function is_of_others(policy, ctx)
    return find(policy.name, ctx.route.document and "^ai_" or "^http_") ~= nil
end


--- Ask a policy, and note what it said and found.
local function ask(policy, conf, ctx)
    if policy.priority < LEAST_PRIORITY or is_of_others(policy, ctx) then
        return
    end
    local step = note(ctx, { step = policy.name })
    if policy.explain then
        step.found = policy.explain(conf, ctx)
        return
    end
    local before = known(ctx)
    step.status, step.code = policy.access(conf, ctx)
    for name, show in pairs(FOUND) do
        if ctx[name] ~= nil and before[name] ~= ctx[name] then
            step.found = step.found or {}
            step.found[NAMES[name] or name] = show(ctx[name], ctx)
        end
    end
    if not step.status and ctx.unreachable then
        step.status, step.code = 502, ctx.unreachable
    end
    return step.status, step.code
end


--- The policy as it is loaded here: of its other phases only what gives back runs.
local function told(policy)
    return {
        name = policy.name,
        priority = policy.priority,
        section = policy.section,
        on_error = policy.on_error,
        accept = policy.accept,
        access = policy.access and function(conf, ctx) return ask(policy, conf, ctx) end,
        log = find(policy.name, "_proxy$") and policy.log or nil,
    }
end


--- The steps before the policies, from what they left.
local function way_in(ctx, status, code)
    local tenant, route = ctx.tenant, ctx.route
    local steps = { { step = "host", found = { host = ctx.host, domain = ctx.domain } } }
    if tenant then
        steps[2] = { step = "tenant", found = { id = tenant.id, status = tenant.status } }
        steps[3] = { step = "route", found = { method = ctx.method, path = ctx.path } }
    end
    if route then
        steps[3].found.route, steps[3].found.id = route.endpoint, route.id
    else
        steps[#steps].status, steps[#steps].code = status, code
    end
    return steps
end


local function explanation(ctx, status, code)
    local steps = way_in(ctx, status, code)
    for _, step in ipairs(ctx.steps or {}) do
        steps[#steps + 1] = step
    end
    -- Some requests are answered by the gateway itself: a list of models, a preflight.
    local is_refused = status and (status < 200 or status > 399)
    local known_code = code and dialect.CODES[code]
    return {
        allowed = not is_refused,
        answeredBy = status and "gateway" or "upstream",
        status = status,
        code = code,
        detail = ctx.detail or (known_code and known_code[3]),
        steps = steps,
    }
end


--- In a file, because the answer to a HEAD has no body.
local function write(told_of)
    local file = assert(io.open(node.explain.file, "wb"))
    assert(file:write(json.encode(told_of)))
    file:close()
end


--- A signal that was told at the start instead of by Redis.
local function signal_of(kind, id)
    local seconds = node.explain.signals[kind .. "/" .. id]
    return seconds and { value = {}, ends_at = clock.monotonic_millis() + seconds * 1000 } or nil
end


--- Make this gateway one that explains.
-- @param gateway   the module of nginx's phases
-- @param policies  list of them, changed here
-- @param begin     makes a request's ctx
-- @param admit     asks whether it may pass: nothing, or status, code
function _M.take_over(gateway, policies, begin, admit)
    for i, policy in ipairs(policies) do
        policies[i] = told(policy)
    end
    signals.get = signal_of

    function gateway.init_worker()
        ids.init_worker()
        config.init_worker()
        upstream.init_worker()
    end

    function gateway.access()
        local ctx = begin()
        if request.get("http_x_yumen_check") ~= node.explain.secret then
            return response.fail(403)
        end
        if request.path_carries_key(ctx) then
            return response.fail(400)
        end
        write(explanation(ctx, admit(ctx)))
        ctx.forwarded = nil
        response.answer(ctx, 200, "{}")
        return response.send(ctx)
    end
end


return _M
