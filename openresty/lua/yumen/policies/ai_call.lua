--- Reads an AI call: which model, may it be called, and the body that its upstream gets.
--
-- It answers GET /v1/models itself. Where the call goes is `ai_proxy`'s, after the policies between
-- them have let it pass; they may yield, so that the body is spliced here, right after its scan.
local body = require "yumen.ai.body"
local core = require "yumen.core"
local degradation = require "yumen.degradation"
local key_scope = require "yumen.key_scope"
local models = require "yumen.ai.models"

local find = string.find
local request, response = core.request, core.response

local MODELS, ONE_MODEL = "/v1/models", "/v1/models/{id}"
local LONGEST_SHOWN_NAME = 128

local _M = {
    name = "ai_call",
    priority = 3000,
    section = "tenants",
    on_error = "closed",
}


local function invalid(ctx, detail, param)
    ctx.detail, ctx.param = detail, param
    return 400, "invalid_body"
end


local function no_model(ctx, name)
    if #name <= LONGEST_SHOWN_NAME and find(name, "^[%w%p ]+$") then
        ctx.detail = "The model '" .. name .. "' does not exist or is not available to you; "
            .. "GET /v1/models lists those that are."
    end
    ctx.param = "model"
    return 404, "model_not_found"
end


local function list_models(tenant, ctx)
    local scope = ctx.credential.scope
    if ctx.route.endpoint == MODELS then
        return response.answer(ctx, 200, models.list(tenant, scope and scope.models))
    end
    local name = models.name_in(ctx.path)
    local text = models.describe(tenant, name)
    if not text then
        return no_model(ctx, name)
    end
    local status, code = key_scope.check_model(scope, ctx, name)
    if status then
        return status, code
    end
    return response.answer(ctx, 200, text)
end


--- Splice the body for the plan.
local function prepare(ctx, plan, stream)
    local wants_usage = stream and ctx.route.endpoint ~= "/v1/embeddings"
    ctx.strip_usage = wants_usage and not body.client_wants_usage()
    local spliced, detail, param = body.splice(plan.splice, ctx.strip_usage)
    if not spliced then
        return invalid(ctx, detail, param)
    end
    request.set_body(spliced)
    ctx.plan, ctx.model, ctx.stream = plan, plan.document, stream
    ctx.service = plan.service
    ctx.cost_multiplier = plan.cost_multiplier
end


--- @param tenant the tenant's document
function _M.access(tenant, ctx)
    if ctx.route.document then
        return                       -- of a tenant's own route
    end
    local endpoint = ctx.route.endpoint
    if endpoint == MODELS or endpoint == ONE_MODEL then
        return list_models(tenant, ctx)
    end
    local encoding = request.get("http_content_encoding")
    if encoding and encoding ~= "identity" and encoding ~= "" then
        return 415, "unsupported_content_encoding"
    end
    local text = request.body()
    if not text then
        return 503, "unavailable"
    end
    ctx.request_bytes = #text
    local found, detail, param = body.scan(text)
    if not found then
        return invalid(ctx, detail, param)
    end
    ctx.most_tokens = found.most_tokens
    local plan, code = models.plan(tenant, found.model)
    if code then
        return 503, code
    elseif not plan then
        return no_model(ctx, found.model)
    end
    local status
    status, code = key_scope.check_model(ctx.credential.scope, ctx, found.model)
    if status then
        return status, code
    end
    local stream = found.stream
    local other = degradation.choose(ctx, plan.document, plan.service, stream)
    return prepare(ctx, other or plan, stream)
end


return _M
