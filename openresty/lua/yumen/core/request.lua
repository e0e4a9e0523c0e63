--- What a policy may read of the client's request, and where the request is sent on to.
local clock = require "yumen.core.clock"

local find = string.find
local get_method = ngx.req.get_method
local match = string.match
local open = io.open
local read_body = ngx.req.read_body
local get_body_data = ngx.req.get_body_data
local get_body_file = ngx.req.get_body_file
local set_body_data = ngx.req.set_body_data
local var = ngx.var

local KEY_PREFIX = "ym_live_"
local ERROR_LOCATION = "/.yumen/error"

local _M = {}


--- The path as it came, without its query, also of a request line that nginx did not understand.
local function original_path()
    return match(var.request or "", "^%S+ ([^?%s]*)") or ""
end


--- Fill a fresh ctx: host (nginx lower-cased it and took off port and trailing dot), path, method.
function _M.describe(ctx)
    ctx.started_us = clock.micros()
    ctx.host = var.host or ""
    local path = var.uri or ""
    -- nginx refused the request before a phase of ours saw it, and went to its error location.
    ctx.path = path == ERROR_LOCATION and original_path() or path
    ctx.method = get_method()
end


--- A header or other nginx variable by its nginx name, such as "http_authorization"; or nil.
function _M.get(name)
    return var[name]
end


--- Whether an API key stands in the URL, where logs and proxies would keep it.
function _M.carries_key()
    return find(var.request_uri or "", KEY_PREFIX, 1, true) ~= nil
end


--- The same of the path alone, which costs nothing.
function _M.path_carries_key(ctx)
    return find(ctx.path, KEY_PREFIX, 1, true) ~= nil
end


--- In log: "OK" when the client got the whole answer, as far as there was one.
function _M.completion()
    return var.request_completion
end


--- The id under which the request is logged and sent on.
function _M.set_id(id)
    var.yumen_request_id = id
end


--- The whole body as one string ("" when there is none). May yield; too large is nginx's own 413.
function _M.body()
    read_body()
    local data = get_body_data()
    if data then
        return data
    end
    local path = get_body_file()
    if not path then
        return ""
    end
    local file, err = open(path, "rb")
    if not file then
        return nil, err
    end
    data = file:read("*a")
    file:close()
    return data
end


--- Replace the body that is sent on.
function _M.set_body(data)
    set_body_data(data)
end


--- Send the request on: URL of a slot ("http://yumen_7/v1/embeddings"), Host header, TLS server
-- name, Authorization header ("" is none).
function _M.forward(url, host, server_name, authorization)
    var.yumen_url = url
    var.yumen_host = host
    var.yumen_server_name = server_name
    var.yumen_authorization = authorization
end


--- Change the Host header of a request that is about to be sent again.
function _M.set_upstream_host(host)
    var.yumen_host = host
end


return _M
