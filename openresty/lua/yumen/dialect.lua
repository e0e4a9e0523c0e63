--- Says what went wrong in the form that the client reads: OpenAI's on /v1/*, else RFC 9457.
local json = require "yumen.core.json"

local format = string.format
local quote = json.quote

local AUTHENTICATION = "authentication_error"
local INVALID = "invalid_request_error"
local NOT_FOUND = "not_found_error"
local LIMITED = "rate_limit_error"
local PERMISSION = "permission_error"
local SERVER = "server_error"
local UPSTREAM = "upstream_error"

-- Every code that the gateway answers with: its usual status, OpenAI's type of error, and what
-- would be right. None of them names an upstream, a key or a setting.
local CODES = {
    key_in_url = { 400, INVALID, "An API key in the URL ends up in logs; send it in the header "
        .. "'Authorization: Bearer' and replace this key with a new one." },
    invalid_body = { 400, INVALID, "The request body is not what this endpoint takes." },
    malformed_request = { 400, INVALID, "The request is not well-formed HTTP." },

    missing_api_key = { 401, AUTHENTICATION, "No API key was sent; send it in the header "
        .. "'Authorization: Bearer'." },
    invalid_api_key = { 401, AUTHENTICATION, "The API key is wrong, expired or revoked, or belongs "
        .. "to another host name." },
    invalid_token = { 401, AUTHENTICATION, "The token is wrong or expired, or was not made for "
        .. "this host name." },

    token_required = { 401, AUTHENTICATION, "This route takes tokens of end users and no API "
        .. "keys; send one in the header 'Authorization: Bearer'." },
    key_required = { 401, AUTHENTICATION, "This route takes API keys and no tokens; send one in "
        .. "the header 'Authorization: Bearer'." },

    forbidden = { 403, PERMISSION, "This is not allowed." },
    key_address_not_allowed = { 403, PERMISSION, "This API key may not be used from this address; "
        .. "ask its administrator." },
    key_endpoint_not_allowed = { 403, PERMISSION, "This API key may not use this endpoint; ask its "
        .. "administrator." },
    key_method_not_allowed = { 403, PERMISSION, "This API key may not use this method; ask its "
        .. "administrator." },
    key_model_not_allowed = { 403, PERMISSION, "This API key may not call this model; ask its "
        .. "administrator." },
    address_not_allowed = { 403, PERMISSION, "This route may not be called from this address." },
    origin_not_allowed = { 403, PERMISSION, "This route takes no requests of pages of "
        .. "this origin." },
    web_socket_not_allowed = { 403, PERMISSION, "This route takes no WebSockets." },
    tenant_suspended = { 403, PERMISSION, "This account is suspended; ask its administrator." },
    tenant_inactive = { 403, PERMISSION, "This account is not active; ask its administrator." },

    host_not_found = { 404, NOT_FOUND, "Nothing is served under this host name; check the name, "
        .. "and that the domain is verified." },
    route_not_found = { 404, NOT_FOUND, "There is no such path: chat completions are at "
        .. "POST /v1/chat/completions, and no route of this host takes it." },
    model_not_found = { 404, NOT_FOUND, "The model does not exist or is not available to you; "
        .. "GET /v1/models lists those that are." },

    method_not_allowed = { 405, INVALID, "This path does not take this method." },
    request_timeout = { 408, INVALID, "The request was sent too slowly." },
    length_required = { 411, INVALID, "The request needs a Content-Length header." },
    request_too_large = { 413, INVALID, "The request body is larger than this gateway takes." },
    uri_too_long = { 414, INVALID, "The URL is too long." },
    unsupported_media_type = { 415, INVALID, "This media type is not taken; send JSON." },
    unsupported_content_encoding = { 415, INVALID, "A compressed request body is not taken; send "
        .. "plain JSON, without Content-Encoding." },
    headers_too_large = { 431, INVALID, "The request's headers are too large." },

    rate_limit_exceeded = { 429, LIMITED, "Too many requests; try again later." },

    internal_error = { 500, SERVER, "The gateway failed; send the request id to its operator." },
    not_implemented = { 501, INVALID, "The gateway does not know this method or encoding." },
    http_version_not_supported = { 505, INVALID, "Use HTTP/1.1." },

    circuit_open = { 503, UPSTREAM, "What is behind this does not work now and is left alone for a "
        .. "while; try again after the seconds in Retry-After." },
    feature_disabled = { 503, UPSTREAM, "What is behind this is not well, and this is switched off "
        .. "until it is; try again after the seconds in Retry-After." },
    no_config = { 503, SERVER, "The gateway has no configuration yet; try again shortly." },
    policy_failed = { 503, SERVER, "The gateway could not check this request; try again." },
    unavailable = { 503, SERVER, "The gateway cannot take this request now; try again." },
    journal_unavailable = { 503, SERVER, "The gateway cannot record calls now, and takes none that "
        .. "it cannot record; try again." },
    limits_unavailable = { 503, SERVER, "The gateway cannot tell now how much of a limit is "
        .. "left; try again." },
    model_unavailable = { 503, SERVER, "The model's settings cannot be used; tell the operator." },

    route_unavailable = { 503, SERVER, "The service of this route is not known to the gateway; "
        .. "tell its administrator." },

    response_too_large = { 502, UPSTREAM, "The service's answer is larger than this route takes." },
    upstream_auth_failed = { 502, UPSTREAM, "The model's provider refused the operator's "
        .. "credentials; your own key is fine. Tell the operator." },
    upstream_redirected = { 502, UPSTREAM, "The model's provider answered with a redirect, which "
        .. "is not followed; tell the operator." },
    upstream_forbidden = { 502, UPSTREAM, "The address of the model or service is one that this "
        .. "gateway must not connect to; tell the operator." },
    upstream_unreachable = { 502, UPSTREAM, "The model's provider, or the service of this route, "
        .. "could not be reached, or closed the connection before it answered; try again." },
    upstream_timeout = { 504, UPSTREAM, "The model's provider, or the service of this route, did "
        .. "not answer in time; try again." },
}

local TITLES = {
    [400] = "Bad Request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found",
    [405] = "Method Not Allowed", [408] = "Request Timeout", [411] = "Length Required",
    [413] = "Content Too Large", [414] = "URI Too Long", [415] = "Unsupported Media Type",
    [429] = "Too Many Requests", [431] = "Request Header Fields Too Large",
    [500] = "Internal Server Error", [501] = "Not Implemented", [502] = "Bad Gateway",
    [503] = "Service Unavailable", [504] = "Gateway Timeout", [505] = "HTTP Version Not Supported",
}

local _M = { CODES = CODES }


local function openai(ctx, status, code, kind, message)
    return format('{"error":{"message":%s,"type":%s,"param":%s,"code":%s}}', quote(message),
                  quote(kind or (status < 500 and INVALID or SERVER)),
                  ctx.param and quote(ctx.param) or "null", quote(code)), "application/json"
end


local function problem(ctx, status, code, _, message)
    return format('{"type":"about:blank","title":%s,"status":%d,"detail":%s,"code":%s,'
                  .. '"requestId":%s}', quote(TITLES[status] or "Error"), status, quote(message),
                  quote(code), ctx.request_id and quote(ctx.request_id) or "null"),
        "application/problem+json"
end


--- The body that tells of an error.
-- @param ctx   `dialect`; `detail`, a message better than the code's own; `param`, the field that
--              it is about
-- @return      body, content type
function _M.error(ctx, status, code)
    local known = CODES[code]
    local kind, message = known and known[2], known and known[3]
    message = ctx.detail or message or TITLES[status] or "The request failed."
    if ctx.dialect == "openai" then
        return openai(ctx, status, code, kind, message)
    end
    return problem(ctx, status, code, kind, message)
end


--- The event that tells of an error in a stream that has begun.
function _M.event(ctx, code)
    return "data: " .. _M.error(ctx, CODES[code][1], code) .. "\n\n"
end


return _M
