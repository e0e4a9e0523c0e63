--- Sends a request that `http_call` has prepared to its upstream, and watches how the answer comes.
local core = require "yumen.core"
local replacement = require "yumen.replacement"
local rewriting = require "yumen.rewriting"
local silence = require "yumen.upstream.silence"
local upstream = require "yumen.upstream"
local web_sockets = require "yumen.web_sockets"

local ipairs, pairs = ipairs, pairs
local micros, seconds = core.clock.micros, core.clock.seconds
local request, response = core.request, core.response
local tonumber = tonumber

local CLOSED, SWITCHING = 499, 101

local _M = {
    name = "http_proxy",
    priority = 900,
    on_error = "closed",
}


function _M.access(_, ctx)
    local document = ctx.upstream
    if not document then
        return
    end
    local target = upstream.target_of(document)
    local prefix, code = upstream.reserve(ctx, target)
    if not prefix then
        ctx.unreachable = code       -- usage_meter records it before the client is told
        return
    end
    ctx.forwarded = true
    if ctx.descriptor then
        request.upgrade()
    end
    ctx.location = target.location
    request.pass(prefix .. rewriting.target(ctx.route, ctx), ctx.upstream_host,
                 document.scheme == "https" and target.server_name or nil)
end


function _M.balancer(_, ctx)
    if not ctx.upstream then
        return
    elseif not upstream.connect(ctx) then
        return 502, "upstream_unreachable"
    end
    local most = ctx.timeouts.first_byte
    if most then
        silence.watch_head(ctx, most)
    end
end


local function is_overdue(ctx)
    local ends_by = ctx.ends_by
    return ends_by and seconds() > ends_by
end


local function change_headers(changes)
    for _, name in ipairs(changes.remove) do
        response.set_header(name, nil)
    end
    for name, value in pairs(changes.set) do
        response.set_header(name, value)
    end
end


--- Status and code with which an answer is refused because of its head; or nothing.
local function refusal(ctx, document)
    if is_overdue(ctx) then
        return 504, "upstream_timeout"
    end
    local most, length = document.maxResponseBytes, ctx.length
    if most and length and length > most and ctx.method ~= "HEAD" then
        return 502, "response_too_large"
    end
end


function _M.header_filter(_, ctx)
    if not ctx.upstream or not ctx.forwarded or ctx.failed then
        return
    end
    local document = ctx.route.document
    local status = response.status()
    ctx.upstream_status = status
    ctx.first_byte_us = micros() - ctx.started_us
    local timeouts = ctx.timeouts
    if timeouts.first_byte or timeouts.between_bytes then
        silence.watch_parts(ctx, timeouts.between_bytes)
    end
    if status == SWITCHING then
        web_sockets.open(ctx)
        ctx.saw_end = true           -- what follows is no answer
        return
    end
    ctx.length = tonumber(response.header("Content-Length"))
    ctx.open_ended = not ctx.length
    -- There is no body to wait for.
    ctx.saw_end = ctx.method == "HEAD" or status == 204 or status == 304 or ctx.length == 0
    local refused, code = refusal(ctx, document)
    if refused then
        replacement.start(ctx, refused, code)
        return
    end
    change_headers(document.responseHeaders)
end


--- Count what goes to the client; end an answer that is too long or takes too long.
function _M.body_filter(_, ctx)
    if not ctx.upstream then
        return
    end
    if ctx.replacement ~= nil then
        return replacement.chunk(ctx)
    end
    local chunk, is_last = response.chunk()
    local bytes = (ctx.response_bytes or 0) + #chunk
    local most = ctx.route.document.maxResponseBytes
    if (most and bytes > most) or is_overdue(ctx) then
        return CLOSED
    end
    ctx.response_bytes = bytes
    ctx.saw_end = ctx.saw_end or is_last or bytes == ctx.length
end


function _M.log(_, ctx)
    if not ctx.upstream then
        return
    end
    silence.forget(ctx)              -- first of all: nginx's request ends with this phase
    if ctx.upstream_status == SWITCHING then
        web_sockets.close(ctx)
        ctx.request_bytes = tonumber(request.get("upstream_bytes_sent"))
        ctx.response_bytes = tonumber(request.get("bytes_sent"))
    end
    upstream.release(ctx)
end


return _M
