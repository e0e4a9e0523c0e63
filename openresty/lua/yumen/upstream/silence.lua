--- Ends calls whose upstream says nothing for longer than their route allows.
--
-- nginx has one timer for both waits, for the head of an answer and for its next part, set to the
-- longer one. Where a route's two differ, the shorter is kept here: ten times a second this looks
-- at what the kernel knows of the connection, and ends it.
local connection = require "yumen.core.connection"
local log = require "yumen.core.log"

local next, pairs = next, pairs
local now = ngx.now
local timer_at = ngx.timer.at

local EVERY_SECONDS = 0.1
local TIMEOUT, SWITCHING = 504, 101

local heads, parts = {}, {}          -- ctx -> nginx's request, of calls that wait for this
local is_looking = false

local _M = {}


--- A head is late. nginx finds the connection closed, and may send the call on to another peer.
local function look_for_head(ctx, request, at)
    local descriptor, sent = connection.upstream(request, ctx.peer_port)
    if not descriptor then
        return
    end
    local has_come, takes_more = connection.poll(descriptor)
    -- As long as the request goes out, nobody waits for an answer.
    if sent == 0 or sent ~= ctx.sent_before or not takes_more then
        ctx.sent_before, ctx.silent_since, ctx.look_at = sent, at, at
        return
    end
    ctx.look_at = ctx.silent_since + ctx.silent_most
    if not has_come and at - ctx.silent_since >= ctx.silent_most then
        heads[ctx] = nil
        ctx.failure = TIMEOUT
        connection.shut(descriptor)
    end
end


--- The next part is late: what the client has cannot be mended, so that its connection ends.
local function look_for_part(ctx, request, at)
    local descriptor = connection.upstream(request, ctx.peer_port)
    local silent = descriptor and connection.since_received(descriptor)
    if not silent then
        return
    elseif silent < ctx.silent_most then
        ctx.look_at = at + ctx.silent_most - silent
        return
    elseif connection.poll(descriptor) then
        return                       -- what has come and is not read waits for the client
    end
    parts[ctx] = nil
    if ctx.upstream_status ~= SWITCHING then
        ctx.code = "upstream_timeout"
    end
    connection.shut(ctx.descriptor)
end


local look


local function start()
    local ok, problem = timer_at(EVERY_SECONDS, look)
    is_looking = ok
    if not ok then
        log.error("upstreams that say nothing are not looked after: ", problem)
    end
end


function look(premature)
    is_looking = false
    if premature then
        return
    end
    local at = now()
    for ctx, request in pairs(heads) do
        if at >= ctx.look_at then
            look_for_head(ctx, request, at)
        end
    end
    for ctx, request in pairs(parts) do
        if at >= ctx.look_at then
            look_for_part(ctx, request, at)
        end
    end
    if next(heads) or next(parts) then
        start()
    end
end


local function watch(calls, ctx, most)
    ctx.silent_most = most
    calls[ctx] = connection.request()
    if not is_looking then
        start()
    end
end


--- In balancer: wait this many seconds for the head of the answer.
function _M.watch_head(ctx, most)
    ctx.sent_before, ctx.look_at = nil, 0
    watch(heads, ctx, most)
end


--- In header_filter: the head has come; wait this many seconds, or nil, for each part that follows.
function _M.watch_parts(ctx, most)
    heads[ctx] = nil
    if most then
        ctx.descriptor = ctx.descriptor or connection.descriptor()
        if ctx.descriptor then
            ctx.look_at = now() + most
            watch(parts, ctx, most)
        else
            log.error("a service may be silent for longer than its route says: the client's "
                      .. "connection is not found in this nginx")
        end
    end
end


--- The call is over, or fails.
function _M.forget(ctx)
    heads[ctx], parts[ctx] = nil, nil
end


return _M
