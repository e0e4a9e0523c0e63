--- Tells how each call ended, for metrics, breakers' readings and the health of services.
local core = require "yumen.core"
local layout = require "contract.journal"
local telemetry = require "yumen.telemetry"

local micros = core.clock.micros
local UPSTREAM_ERROR = "upstream_error"
local COMPLETE = layout.outcome_complete

local _M = {
    name = "telemetry",
    priority = 50,
    on_error = "open",
}


--- Behind all that could refuse it: the call goes out now.
function _M.access(_, ctx)
    if ctx.service then
        telemetry.begin(ctx)
    end
end


--- How the answer ended that an upstream had begun.
local function of_answer(ctx, status)
    if ctx.code == "upstream_timeout" then
        return "timeout"              -- its head came when the time of the whole call was over
    elseif status >= 500 then
        return UPSTREAM_ERROR
    elseif ctx.code then
        return UPSTREAM_ERROR         -- an answer of a model that is not passed on
    elseif status >= 400 then
        return "client_error"
    elseif ctx.outcome == COMPLETE then
        return "ok"
    end
    -- nginx says OK when the client got all there was: then the upstream ended too early.
    return core.request.get("request_completion") == "OK" and "broken" or "aborted"
end


local function outcome(ctx)
    local status = ctx.upstream_status
    if status then
        return of_answer(ctx, status)
    elseif ctx.unreachable then
        return "unreachable"
    elseif not ctx.in_flight then
        return "refused"
    elseif core.response.status() == 499 then
        return "aborted"
    end
    return ctx.failed == 504 and "timeout" or "unreachable"
end


function _M.log(_, ctx)
    if ctx.service then
        local ended = outcome(ctx)
        local wait_us = ended ~= "refused"
            and (ctx.first_byte_us or micros() - ctx.started_us) or nil
        telemetry.finish(ctx, ended, wait_us)
    end
    if ctx.code then
        telemetry.refuse(ctx.code)
    end
end


return _M
