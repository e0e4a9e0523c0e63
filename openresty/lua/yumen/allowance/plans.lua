--- Which counters a request draws on: of the platform's rules and its tenant's, those that fit it.
--
-- They are found once for a key, route and model, and kept on the tenant's document.
local config = require "yumen.config"
local counter = require "yumen.allowance.counter"

local concat = table.concat
local gsub = string.gsub
local ipairs = ipairs

local PLATFORM = "platform"
local NONE = { rules = {} }
local WEAK = { __mode = "k" }

local _M = {}

-- Whose counter it is, in the order in which its name says so.
local SCOPES = { "tenant", "key", "user", "route", "model" }
local ids = {}                -- of the request that is looked at


local function escape(text)
    return (gsub(text, "[%%/:]", function(character)
        return ("%%%02X"):format(character:byte())
    end))
end


local function fits(rule)
    for what, id in pairs(rule.match) do
        if ids[what] ~= id then
            return false
        end
    end
    for _, what in ipairs(rule.scope) do
        if what ~= PLATFORM and not ids[what] then
            return false
        end
    end
    return true
end


--- The name of the counter that a rule has for this request, the same on every node.
local function name_of(document, rule)
    local wanted, parts = {}, { document, "/", escape(rule.id) }
    for _, what in ipairs(rule.scope) do
        wanted[what] = true
    end
    for _, what in ipairs(SCOPES) do
        if wanted[what] then
            parts[#parts + 1] = "/" .. what .. ":" .. escape(ids[what])
        end
    end
    return concat(parts)
end


local function add(plan, document, shorten)
    for _, rule in ipairs(document.rules) do
        if fits(rule) then
            local name = name_of(document.id, rule)
            local short = shorten(name .. (rule.window or "") .. (rule.burst and "b" or ""))
            plan[#plan + 1] = counter.new(rule, name, short)
            plan.has_tokens = plan.has_tokens or rule.meter == "tokens"
        end
    end
end


local function make(kept, ctx, shorten)
    local credential, route, model = ctx.credential, ctx.route, ctx.model
    ids.tenant = ctx.tenant.id
    ids.key, ids.user = credential and credential.key, credential and credential.user
    ids.route, ids.model = route.id or route.endpoint, model and model.id
    local plan = {}
    add(plan, kept.platform, shorten)
    add(plan, kept.own, shorten)
    return plan
end


--- What is kept for one key and one route.
local function inner(of, key)
    local found = of[key]
    if not found then
        found = setmetatable({}, WEAK)
        of[key] = found
    end
    return found
end


--- The counters of a request, a list; it has `has_tokens` when one of them counts tokens.
-- @param shorten  a long text to a short one
function _M.of(ctx, shorten)
    local tenant = ctx.tenant
    local own = config.get("limits", tenant.id) or NONE
    local platform = config.get("limits", PLATFORM) or NONE
    local kept = tenant.limits_kept
    if not kept or kept.own ~= own or kept.platform ~= platform then
        kept = { own = own, platform = platform, plans = setmetatable({}, WEAK) }
        tenant.limits_kept = kept
    end
    local of_key = inner(kept.plans, ctx.credential or false)
    local of_route = inner(of_key, ctx.route)
    local model = ctx.model or false
    local plan = of_route[model]
    if not plan then
        plan = make(kept, ctx, shorten)
        of_route[model] = plan
    end
    return plan
end


return _M
