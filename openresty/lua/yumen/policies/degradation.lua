--- Does with a call what the degradation rule says that is in force for its service.
--
-- Before the limits, so that those and the breakers of what is called instead count. `ai_call` has
-- chosen the rule of an AI call, because the other model's name belongs into the body.
local core = require "yumen.core"
local degradation = require "yumen.degradation"
local node = require "yumen.core.node"

local response = core.response

local _M = {
    name = "degradation",
    priority = 2700,
    on_error = "open",
}


function _M.access(_, ctx)
    local document = ctx.upstream
    if document then
        local other = degradation.choose(ctx, document, ctx.service)
        if other then
            ctx.upstream, ctx.service = other, other.service_key
        end
    end
    local rule = ctx.degraded
    if not rule then
        return
    end
    local action, answer = rule.action, rule.parameters.answer
    if action == "timeout-increase" then
        degradation.give_time(ctx, ctx.timeouts or node.timeouts)
    elseif action == "feature-disable" then
        return degradation.refuse(ctx)
    elseif answer then
        return response.answer(ctx, answer.status, answer.body, answer.contentType)
    end
end


--- Every answer that a rule changed says so.
function _M.header_filter(_, ctx)
    local rule = ctx.degraded
    if rule then
        response.set_header("X-Yumen-Degraded", rule.name)
    end
end


return _M
