--- Which route a request takes, and in which dialect it is answered.
local byte = string.byte
local config = require "yumen.config"
local endpoints = require "contract.endpoints"
local request = require "yumen.core.request"
local routes = require "yumen.routes"
local sub = string.sub

local SLASH = byte("/")

-- Path to what it is: the method it takes (`head`: HEAD, too), the name under which usage shows it,
-- and whether it is open to all without a key.
local ROUTES = {
    ["/.well-known/yumen"] = {
        method = "GET", head = true, endpoint = "/.well-known/yumen", is_public = true,
    },
}
for endpoint, method in pairs(endpoints) do
    ROUTES[endpoint] = { method = method, endpoint = endpoint }
end
local ONE_MODEL = ROUTES["/v1/models/{id}"]
ROUTES["/v1/models/{id}"] = nil

-- nginx's own errors, by the status it gives them, which is not always the one it sends.
local REFUSALS = {
    [400] = "malformed_request",
    [403] = "forbidden",
    [404] = "route_not_found",
    [405] = "method_not_allowed",
    [408] = "request_timeout",
    [411] = "length_required",
    [413] = "request_too_large",
    [414] = "uri_too_long",
    [415] = "unsupported_media_type",
    [431] = "headers_too_large",
    [500] = "internal_error",
    [501] = "not_implemented",
    [502] = "upstream_unreachable",
    [503] = "unavailable",
    [504] = "upstream_timeout",
    [505] = "http_version_not_supported",
}

local _M = {}


--- "openai" on /v1/*, "problem" elsewhere.
function _M.dialect(path)
    return sub(path, 1, 4) == "/v1/" and "openai" or "problem"
end


--- Whether a path is the gateway's, so that no route of a tenant's takes it.
local function is_ours(path)
    return sub(path, 1, 4) == "/v1/" or path == "/v1" or sub(path, 1, 8) == "/.yumen/"
end


--- A route of the tenant's own; or nil, status, code.
local function match_own(ctx)
    local document = config.get("routes", ctx.tenant.id)
    if not document then
        return nil, 404, "route_not_found"
    end
    local route = routes.find(document, ctx)
    if route then
        return route
    end
    ctx.allow = routes.methods(document, ctx)
    if ctx.allow then
        return nil, 405, "method_not_allowed"
    end
    return nil, 404, "route_not_found"
end


--- The route: {method, endpoint} of those that each tenant has, else one of routes.lua. Or nil,
-- status, code.
function _M.match(ctx)
    local path = ctx.path
    local route = ROUTES[path]
    if not route then
        if not is_ours(path) then
            return match_own(ctx)
        end
        if sub(path, 1, 11) ~= "/v1/models/" or not byte(path, 12) or byte(path, 12) == SLASH then
            return nil, 404, "route_not_found"
        end
        route = ONE_MODEL
    end
    if route.method ~= ctx.method and not (route.head and ctx.method == "HEAD") then
        ctx.allow = route.head and route.method .. ", HEAD" or route.method
        return nil, 405, "method_not_allowed"
    end
    return route
end


--- Status and code of an error that nginx made itself.
function _M.refusal(_, status)
    if status == 400 and request.carries_key() then
        return 400, "key_in_url"
    end
    return status, REFUSALS[status] or "malformed_request"
end


return _M
