--- Runs the policies of a phase, highest priority first, and decides what a broken one means.
local config = require "yumen.config"
local log = require "yumen.core.log"

local error = error
local pcall = pcall
local sort = table.sort

local PHASES = { "accept", "access", "balancer", "header_filter", "body_filter", "log" }

local BUILT_IN = { "request_id", "tenant_status", "key_auth", "ai_proxy", "usage_meter" }

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


--- Order the policies once, before any request. Two equal priorities are an error.
function _M.load(policies)
    local seen = {}
    for _, policy in ipairs(policies) do
        check(policy, seen)
    end
    for _, phase in ipairs(PHASES) do
        local chain = {}
        for _, policy in ipairs(policies) do
            if policy[phase] then
                chain[#chain + 1] = { policy = policy, run = policy[phase] }
            end
        end
        sort(chain, function(a, b) return a.policy.priority > b.policy.priority end)
        chains[phase] = chain
    end
end


--- Load the policies named; nil is the built-in ones.
function _M.load_named(names)
    local policies = {}
    for i, name in ipairs(names or BUILT_IN) do
        policies[i] = require("yumen.policies." .. name)
    end
    _M.load(policies)
end


--- The document that a policy reads: the tenant's own in the policy's section.
local function conf_of(policy, ctx)
    local section = policy.section
    if not section or not ctx.tenant then
        return nil
    end
    if section == "tenants" then
        return ctx.tenant
    end
    return config.get(section, ctx.tenant.id)
end


local function run_from(chain, ctx, first)
    for i = first, #chain do
        local step = chain[i]
        ctx.step = i
        local conf = conf_of(step.policy, ctx)
        if conf or not step.policy.section then
            local status, code = step.run(conf, ctx)
            if status then
                return status, code
            end
        end
    end
end


--- Run one phase.
-- @return nothing to go on; or status, code to stop here
function _M.run(phase, ctx)
    local chain = chains[phase]
    local first = 1
    while true do
        local ok, status, code = pcall(run_from, chain, ctx, first)
        if ok then
            return status, code
        end
        local policy = chain[ctx.step].policy
        log.error("policy ", policy.name, " broke in ", phase, ": ", status)
        if policy.on_error == "closed" then
            return 503, "policy_failed"
        end
        first = ctx.step + 1
    end
end


return _M
