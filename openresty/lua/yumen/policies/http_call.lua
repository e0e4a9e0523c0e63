--- Prepares a request on a tenant's own route: may its body pass, which upstream is it for, and
-- which of its headers go on.
local core = require "yumen.core"
local upstreams = require "yumen.upstream.document"
local web_sockets = require "yumen.web_sockets"

local ipairs, pairs = ipairs, pairs
local lower = string.lower
local max, min = math.max, math.min
local request = core.request
local seconds = core.clock.seconds
local tonumber = tonumber

-- These two are variables of nginx.conf; every other header is changed in the request.
local AUTHORIZATION, API_KEY = "authorization", "x-api-key"

local _M = {
    name = "http_call",
    priority = 2900,
    on_error = "closed",
}


--- What a route does to each request, made once.
local function make(document)
    local call = { headers = {} }
    for _, name in ipairs(document.requestHeaders.remove) do
        call.headers[lower(name)] = false
    end
    for name, value in pairs(document.requestHeaders.set) do
        call.headers[lower(name)] = value
    end
    call.authorization, call.api_key = call.headers[AUTHORIZATION], call.headers[API_KEY]
    call.headers[AUTHORIZATION], call.headers[API_KEY] = nil, nil
    if next(call.headers) == nil then
        call.headers = nil
    end
    local timeouts = document.timeouts
    local first_byte, between_bytes = timeouts.firstByte, timeouts.betweenBytes
    local read = max(first_byte, between_bytes)
    local total = timeouts.total
    read = min(read, total or read)
    call.timeouts = {
        connect = min(timeouts.connect, total or timeouts.connect),
        send = min(timeouts.send, total or timeouts.send),
        read = read,
        -- nginx keeps the longer one, upstream/silence.lua the other.
        first_byte = first_byte < read and first_byte or nil,
        between_bytes = between_bytes < read and between_bytes or nil,
    }
    return call
end


local function check_body(ctx, most)
    if not most then
        ctx.request_bytes = tonumber(request.get("http_content_length"))
        return
    end
    local length = request.body_length()
    if not length then
        return 503, "unavailable"
    end
    ctx.request_bytes = length
    if length > most then
        ctx.detail = "The request body has " .. length .. " bytes; this route takes at most "
            .. most .. "."
        return 413, "request_too_large"
    end
end


--- Keep the client's key or token from the upstream, and give it the route's own.
local function change_credentials(call, route)
    local authorization = request.get("http_authorization")
    local key = request.get("http_x_api_key")
    if call.authorization ~= nil then
        request.set_authorization(call.authorization or "")
    elseif authorization and (not route.is_open or request.is_key(authorization)) then
        request.set_authorization("")
    end
    if call.api_key ~= nil then
        request.set_api_key(call.api_key or "")
    elseif key and (not (route.is_open or authorization) or request.is_key(key)) then
        request.set_api_key("")
    end
end


function _M.access(_, ctx)
    local route = ctx.route
    local document = route.document
    if not document then
        return
    end
    local call = document.call
    if not call then
        call = make(document)
        document.call = call
    end
    local found = upstreams.find(ctx.tenant, document.upstream)
    if not found then
        return 503, "route_unavailable"
    end
    ctx.upstream, ctx.service = found, found.service_key
    if request.wants_web_socket() then
        if not document.webSocket.enabled then
            return 403, "web_socket_not_allowed"
        elseif not web_sockets.prepare(ctx) then
            core.log.error("a WebSocket is refused: its connection is not found in this nginx")
            return 503, "unavailable"
        end
    end
    local status, code = check_body(ctx, document.maxRequestBytes)
    if status then
        return status, code
    end
    request.drop_connection_headers()
    change_credentials(call, route)
    if call.headers then
        for name, value in pairs(call.headers) do
            request.set_header(name, value or nil)
        end
    end
    ctx.timeouts = call.timeouts
    local total = document.timeouts.total
    ctx.ends_by = total and seconds() + total
end


return _M
