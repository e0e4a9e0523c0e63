--- Runs the policies of a phase, highest priority first, and decides what a broken one means.
local config = require "yumen.config"
local log = require "yumen.core.log"

local concat = table.concat
local error = error
local pcall = pcall
local sort = table.sort

local PHASES = { "accept", "access", "balancer", "header_filter", "body_filter", "log" }

local BUILT_IN = {
    "request_id", "cors", "ip_restriction", "key_auth", "tenant_status", "profile", "ai_call",
    "http_call", "degradation", "limits", "breaker", "ai_proxy", "http_proxy", "open_streams",
    "usage_meter", "telemetry",
}

local _M = { BUILT_IN = BUILT_IN, PHASES = PHASES }
local chains = {}


local function check(policy, seen)
    local other = seen[policy.priority]
    if other then
        error("policies " .. other .. " and " .. policy.name .. " have the same priority "
              .. policy.priority)
    end
    seen[policy.priority] = policy.name
    if policy.on_error ~= "open" and policy.on_error ~= "closed" then
        error("policy " .. policy.name .. " must say on_error = \"open\" or \"closed\"")
    end
end


--- The document that a policy reads: the tenant's own in the policy's section.
local function conf_of(section, ctx)
    local tenant = ctx.tenant
    if section == "tenants" or not tenant then
        return tenant
    end
    return config.get(section, tenant.id)
end


-- One call of a policy in the text of a phase's function. The text is unrolled because a loop over
-- functions keeps LuaJIT from compiling what is called in it.
local CALL = [[
ctx.step = %d
status, code = run_%d(nil, ctx)
if status then return status, code end
]]
local CALL_WITH_CONF = [[
ctx.step = %d
conf = conf_of(%q, ctx)
if conf then
    status, code = run_%d(conf, ctx)
    if status then return status, code end
end
]]


--- One straight function that calls the policies of a phase in their order.
local function straight(chain)
    local names, runs, calls = {}, {}, {}
    for i, policy in ipairs(chain) do
        names[i], runs[i] = "run_" .. i, chain.runs[i]
        calls[i] = policy.section and CALL_WITH_CONF:format(i, policy.section, i)
            or CALL:format(i, i)
    end
    local head = #chain > 0 and "local " .. concat(names, ", ") .. " = ...\n" or ""
    local text = "local conf_of = conf_of\n" .. head
        .. "return function(ctx)\nlocal status, code, conf\n" .. concat(calls) .. "end"
    local make = assert(loadstring(text, "=policies"))
    return setfenv(make, { conf_of = conf_of })(unpack(runs))
end


--- Order the policies once, before any request. Two equal priorities are an error.
function _M.load(policies)
    local seen = {}
    for _, policy in ipairs(policies) do
        check(policy, seen)
    end
    sort(policies, function(a, b) return a.priority > b.priority end)
    for _, phase in ipairs(PHASES) do
        local chain = { runs = {} }
        for _, policy in ipairs(policies) do
            if policy[phase] then
                chain[#chain + 1] = policy
                chain.runs[#chain] = policy[phase]
            end
        end
        chain.run = straight(chain)
        chains[phase] = chain
    end
end


--- The policies named, for `load`; nil is the built-in ones.
function _M.named(names)
    local policies = {}
    for i, name in ipairs(names or BUILT_IN) do
        policies[i] = require("yumen.policies." .. name)
    end
    return policies
end


--- A policy broke. One that says "open" is passed over and the rest run, the slow way.
local function recover(chain, phase, ctx, err)
    local status, code
    for i = ctx.step, #chain do
        local policy = chain[i]
        ctx.step = i
        if err == nil then
            local conf = policy.section and conf_of(policy.section, ctx)
            local ok = true
            if conf or not policy.section then
                ok, status, code = pcall(chain.runs[i], conf, ctx)
            end
            if ok and status then
                return status, code
            end
            err = not ok and status or nil
        end
        if err ~= nil then
            log.error("policy ", policy.name, " broke in ", phase, ": ", err)
            if policy.on_error == "closed" then
                return 503, "policy_failed"
            end
            err = nil
        end
    end
end


--- Run one phase.
-- @return nothing to go on; or status, code to stop here
function _M.run(phase, ctx)
    local chain = chains[phase]
    local ok, status, code = pcall(chain.run, ctx)
    if ok then
        return status, code
    end
    return recover(chain, phase, ctx, status)
end


return _M
