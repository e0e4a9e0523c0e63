--- What the end of a call says of the service behind it.
--
-- Total time says nothing: an answer may be long. What counts is when its head came, and whether it
-- came whole. nginx logs an answer that was cut off as a success, and its client's as well.

local BAD_GATEWAY, GATEWAY_TIMEOUT = 502, 504

local _M = {}


--- Whether all of an answer came from the upstream.
local function is_whole(ctx)
    local watch = ctx.watch
    if not watch then
        return ctx.saw_end
    elseif ctx.is_events then
        return watch.terminal and not watch.failed
    end
    return watch.whole and ctx.saw_end
end


--- Of a call to which the upstream gave no answer.
local function of_failure(ctx)
    local failed = ctx.failed
    if failed == GATEWAY_TIMEOUT then
        return "timeout"
    elseif failed == BAD_GATEWAY or ctx.unreachable == "upstream_unreachable" then
        return "connect"
    end
    return "neutral"               -- the client left, or the gateway itself refused the call
end


--- @param counted    statuses that are failures, each true
-- @param completion  nginx's own `$request_completion`, read when it is needed: "OK" when the
--                    client got what there was
-- @return            "success", "neutral", "timeout", "connect", "broken", "status"
function _M.of(ctx, counted, completion)
    local status = ctx.upstream_status
    if not status or ctx.failed then
        return of_failure(ctx)
    elseif counted[status] then
        return "status"
    elseif ctx.code == "upstream_timeout" then
        return "timeout"
    elseif status < 200 or status > 299 or is_whole(ctx) then
        return "success"
    elseif ctx.cut_off or completion() ~= "OK" then
        return "neutral"
    end
    return "broken"
end


return _M
