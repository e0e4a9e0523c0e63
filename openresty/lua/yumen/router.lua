--- Which route a request takes, and in which dialect it is answered.
local byte = string.byte
local request = require "yumen.core.request"
local sub = string.sub

local SLASH = byte("/")

-- Path to what it is: the only method it takes and the name under which usage shows it.
local ROUTES = {
    ["/v1/chat/completions"] = { method = "POST", endpoint = "/v1/chat/completions" },
    ["/v1/completions"] = { method = "POST", endpoint = "/v1/completions" },
    ["/v1/embeddings"] = { method = "POST", endpoint = "/v1/embeddings" },
    ["/v1/models"] = { method = "GET", endpoint = "/v1/models" },
}
local ONE_MODEL = { method = "GET", endpoint = "/v1/models/{id}" }

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


--- The route {method, endpoint}; or nil, status, code.
function _M.match(ctx)
    local path = ctx.path
    local route = ROUTES[path]
    if not route and sub(path, 1, 11) == "/v1/models/" and byte(path, 12)
       and byte(path, 12) ~= SLASH then
        route = ONE_MODEL
    end
    if not route then
        return nil, 404, "route_not_found"
    end
    if route.method ~= ctx.method then
        ctx.allow = route.method
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
