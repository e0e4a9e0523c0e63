--- Sends an AI call to its model's upstream: reads and splices the body, sets host and key.
local body = require "yumen.ai.body"
local core = require "yumen.core"
local dialect = require "yumen.dialect"
local key_scope = require "yumen.key_scope"
local models = require "yumen.ai.models"
local upstream = require "yumen.upstream"

local find = string.find
local request, response = core.request, core.response

local MODELS, ONE_MODEL = "/v1/models", "/v1/models/{id}"
local LONGEST_SHOWN_NAME = 128
local BAD_GATEWAY = 502
-- Of the operator's account or of the way there; nginx.conf hides what no answer may carry.
local HIDDEN_ON_FAILURE = { "Location", "WWW-Authenticate", "Content-Encoding" }

local _M = {
    name = "ai_proxy",
    priority = 1000,
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


--- Splice the body for the plan and send the request there.
local function forward(ctx, plan, stream)
    local endpoint = ctx.route.endpoint
    local wants_usage = stream and endpoint ~= "/v1/embeddings"
    ctx.strip_usage = wants_usage and not body.client_wants_usage()
    local spliced, detail, param = body.splice(plan.splice, ctx.strip_usage)
    if not spliced then
        return invalid(ctx, detail, param)
    end
    request.set_body(spliced)
    ctx.model, ctx.stream, ctx.cost_multiplier = plan.document, stream, plan.cost_multiplier

    local prefix, code = upstream.reserve(ctx, plan.target)
    if not prefix then
        ctx.unreachable = code       -- usage_meter records it before the client is told
        return
    end
    ctx.forwarded = true
    request.forward(prefix .. plan.suffixes[endpoint], plan.target.host_header,
                    plan.target.server_name, plan.authorization)
end


--- @param tenant the tenant's document
function _M.access(tenant, ctx)
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
    return forward(ctx, plan, found.stream)
end


--- To the peer that was checked in access.
function _M.balancer(_, ctx)
    if not upstream.connect(ctx) then
        return 502, "upstream_unreachable"
    end
end


local function failure(status)
    if status == 401 or status == 403 then
        return "upstream_auth_failed"
    elseif status >= 300 and status < 400 then
        return "upstream_redirected"
    end
end


--- Answers about the operator's account are the operator's: the client is told that, no more.
function _M.header_filter(_, ctx)
    if not ctx.forwarded or ctx.failed then
        return
    end
    local status = response.status()
    ctx.upstream_status = status
    local code = failure(status)
    if not code then
        return
    end
    core.log.error("upstream answered ", status, " for model ", ctx.model.id)
    response.rewrite(BAD_GATEWAY)
    for _, name in ipairs(HIDDEN_ON_FAILURE) do
        response.set_header(name, nil)
    end
    local text, content_type = dialect.error(ctx, BAD_GATEWAY, code)
    response.set_header("Content-Type", content_type)
    response.set_header("Content-Length", #text)
    ctx.code, ctx.replacement = code, text
end


--- The body that belongs to a rewritten status, instead of the upstream's.
function _M.body_filter(_, ctx)
    local text = ctx.replacement
    if text ~= nil then
        response.set_chunk(text or nil)
        ctx.replacement = false
    end
end


function _M.log(_, ctx)
    upstream.release(ctx)
end


return _M
