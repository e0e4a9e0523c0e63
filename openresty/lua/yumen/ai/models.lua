--- What a tenant may call, and how: the models configured for it, and the plan of each one's calls.
--
-- A plan is made once for a tenant's model and kept on the tenant's document, which is replaced
-- when it changes; a changed model is a new document, too, and makes a new plan.

local body = require "yumen.ai.body"
local config = require "yumen.config"
local core = require "yumen.core"
local upstream = require "yumen.upstream"

local concat = table.concat
local ipairs, pairs = ipairs, pairs
local quote = core.json.quote
local sort = table.sort
local sub = string.sub

local ONE_MODEL_PREFIX = "/v1/models/"
-- Every path is the endpoint's base path and what stands behind /v1 in ours.
local SUFFIXES = {
    ["/v1/chat/completions"] = "/chat/completions",
    ["/v1/completions"] = "/completions",
    ["/v1/embeddings"] = "/embeddings",
}
-- The gateway sets these itself.
local OWN_FIELDS = { model = true, stream = true, stream_options = true }

local _M = {}


--- The model's document when the tenant may call it; or nil.
local function find(tenant, name)
    local entry = tenant.models[name]
    local document = entry and config.get("models", entry.model)
    if document and document.isActive then
        return document, entry
    end
end


--- The parameters spliced into each call: the tenant's over the model's.
local function parameters(document, entry)
    local values, enforced, list = {}, {}, {}
    for _, source in ipairs { document.parameters, entry.parameters } do
        for name, value in pairs(source) do
            values[name] = value
        end
    end
    for _, name in ipairs(document.enforcedParameters) do
        enforced[name] = true
    end
    for name, value in pairs(values) do
        if not OWN_FIELDS[name] then
            list[#list + 1] = {
                name = name,
                value = value,
                member = "," .. quote(name) .. ":" .. value,
                enforced = enforced[name],
            }
        end
    end
    sort(list, function(a, b) return a.name < b.name end)
    return body.new_plan(values.model or quote(document.name), list)
end


local function authorization(document)
    if not document.apiKey then
        return ""
    end
    local key = core.crypto.open_sealed(document.apiKey, "models/" .. document.id)
    return key and "Bearer " .. key
end


local function make(document, entry)
    local opened = authorization(document)
    if not opened then
        core.log.error("the sealed key of model ", document.id, " does not open on this node")
        return nil
    end
    -- Its tenants share it, and what is known of its addresses.
    document.target = document.target or upstream.target(document.endpoint)
    return {
        document = document,
        service = "model:" .. document.id,
        splice = parameters(document, entry),
        authorization = opened,
        cost_multiplier = entry.costMultiplier,
        target = document.target,
        suffixes = SUFFIXES,
    }
end


--- How the tenant's calls of a model are made.
-- @return  plan; nil when it may not call such a model; or nil, code when the model is not usable
function _M.plan(tenant, name)
    local document, entry = find(tenant, name)
    if not document then
        return nil
    end
    local plan = entry.plan
    if plan and plan.document == document then
        return plan
    end
    plan = make(document, entry)
    if not plan then
        return nil, "model_unavailable"
    end
    entry.plan = plan
    return plan
end


--- The same by the model's id.
-- @return  plan, the name by which the tenant calls it; nil when the tenant may not, or it is not
--          usable
function _M.plan_of(tenant, id)
    local names = tenant.names_of_models
    if not names then
        names = {}
        for name, entry in pairs(tenant.models) do
            names[entry.model] = name
        end
        tenant.names_of_models = names
    end
    local name = names[id]
    local plan = name and _M.plan(tenant, name)
    return plan, name
end


local function description(name)
    return '{"id":' .. quote(name) .. ',"object":"model","created":0,"owned_by":"yumen"}'
end


--- The answer of GET /v1/models: what the tenant may call, by name.
-- @param allowed  the names that its key is limited to, each true; nil is no limit
function _M.list(tenant, allowed)
    local names = {}
    for name in pairs(tenant.models) do
        if find(tenant, name) and not (allowed and not allowed[name]) then
            names[#names + 1] = name
        end
    end
    sort(names)
    for index, name in ipairs(names) do
        names[index] = description(name)
    end
    return '{"object":"list","data":[' .. concat(names, ",") .. "]}"
end


--- The answer of GET /v1/models/{id}; nil when the tenant may not call it.
function _M.describe(tenant, name)
    return find(tenant, name) and description(name) or nil
end


--- The model's name in the path of GET /v1/models/{id}; a name may hold slashes.
function _M.name_in(path)
    return sub(path, #ONE_MODEL_PREFIX + 1)
end


return _M
