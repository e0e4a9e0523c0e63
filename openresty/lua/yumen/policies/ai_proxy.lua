--- Sends an AI call that `ai_call` has read to its model's upstream, with the operator's key.
local core = require "yumen.core"
local dialect = require "yumen.dialect"
local upstream = require "yumen.upstream"

local request, response = core.request, core.response

local BAD_GATEWAY = 502
-- Of the operator's account or of the way there; nginx.conf hides what no answer may carry.
local HIDDEN_ON_FAILURE = { "Location", "WWW-Authenticate", "Content-Encoding" }

local _M = {
    name = "ai_proxy",
    priority = 1000,
    on_error = "closed",
}


function _M.access(_, ctx)
    local plan = ctx.plan
    local prefix, code = upstream.reserve(ctx, plan.target)
    if not prefix then
        ctx.unreachable = code       -- usage_meter records it before the client is told
        return
    end
    ctx.forwarded = true
    request.forward(prefix .. plan.suffixes[ctx.route.endpoint], plan.target.host_header,
                    plan.target.server_name, plan.authorization)
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
