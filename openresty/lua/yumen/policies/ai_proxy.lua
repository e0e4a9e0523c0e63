--- Sends an AI call that `ai_call` has read to its model's upstream, with the operator's key.
local core = require "yumen.core"
local replacement = require "yumen.replacement"
local upstream = require "yumen.upstream"

local request, response = core.request, core.response

local BAD_GATEWAY = 502

local _M = {
    name = "ai_proxy",
    priority = 1000,
    on_error = "closed",
}


function _M.access(_, ctx)
    local plan = ctx.plan
    if not plan then
        return
    end
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
    if ctx.plan and not upstream.connect(ctx) then
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
    if not ctx.plan or not ctx.forwarded or ctx.failed then
        return
    end
    local status = response.status()
    ctx.upstream_status = status
    local code = failure(status)
    if not code then
        return
    end
    core.log.error("upstream answered ", status, " for model ", ctx.model.id)
    replacement.start(ctx, BAD_GATEWAY, code)
end


function _M.body_filter(_, ctx)
    if ctx.plan and ctx.replacement ~= nil then
        replacement.chunk(ctx)
    end
end


function _M.log(_, ctx)
    if ctx.plan then
        upstream.release(ctx)
    end
end


return _M
