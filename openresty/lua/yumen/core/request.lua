--- What a policy may read of the client's request, and where the request is sent on to.
local clock = require "yumen.core.clock"

local clear_header = ngx.req.clear_header
local escape_uri, unescape_uri = ngx.escape_uri, ngx.unescape_uri
local find = string.find
local get_method = ngx.req.get_method
local gmatch, gsub = string.gmatch, string.gsub
local lower = string.lower
local match = string.match
local open = io.open
local read_body = ngx.req.read_body
local get_body_data = ngx.req.get_body_data
local get_body_file = ngx.req.get_body_file
local set_body_data = ngx.req.set_body_data
local set_header = ngx.req.set_header
local var = ngx.var

local KEY_PREFIX = "ym_live_"
local ERROR_LOCATION = "/.yumen/error"
local ESCAPE_PATH = 0                -- nginx's kind for a whole path
-- What `Connection` may say that is no name of a header.
local CONNECTION_OPTIONS = { close = true, ["keep-alive"] = true, upgrade = true }

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


--- The body's length in bytes, read when its length was not announced. May yield.
-- @return  bytes; or nil, err
function _M.body_length()
    local announced = tonumber(var.http_content_length)
    if announced then
        return announced
    end
    if not var.http_transfer_encoding then
        return 0
    end
    read_body()
    local path = get_body_file()
    if not path then
        local data = get_body_data()
        return data and #data or 0
    end
    local file, err = open(path, "rb")
    if not file then
        return nil, err
    end
    local length = file:seek("end")
    file:close()
    return length
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


--- A path as it stands in a URL.
function _M.escape(path)
    return escape_uri(path, ESCAPE_PATH)
end


--- The query with its question mark, as it came; "" when there is none.
function _M.query()
    local args = var.args
    return args and args ~= "" and "?" .. args or ""
end


--- The path as the client wrote it, when it is what nginx decoded it to and nothing else; or nil.
-- @param path  as nginx decoded it
function _M.written_path(path)
    local written = match(var.request_uri, "^[^?]*")
    if written == path then
        return written
    end
    return unescape_uri((gsub(written, "%+", "%%2B"))) == path and written or nil
end


--- Path and query for an upstream that gets the path as it is.
-- @param path  as nginx decoded it
function _M.url_of(path)
    local written = var.request_uri
    if written == path then
        return written
    end
    return (_M.written_path(path) or _M.escape(path)) .. _M.query()
end


--- Whether a header carries an API key of ours.
function _M.is_key(value)
    return find(value, KEY_PREFIX, 1, true) ~= nil
end


--- Set a header of the request that is sent on; nil takes it away.
function _M.set_header(name, value)
    if value then
        set_header(name, value)
    else
        clear_header(name)
    end
end


--- Take away the headers that belong to the client's connection alone, as it names them.
function _M.drop_connection_headers()
    local connection = var.http_connection
    if not connection or CONNECTION_OPTIONS[connection] then
        return
    end
    for name in gmatch(connection, "[^,%s]+") do
        if not CONNECTION_OPTIONS[lower(name)] then
            clear_header(name)
        end
    end
end


--- Whether the client asks for a WebSocket.
function _M.wants_web_socket()
    local upgrade = var.http_upgrade
    return upgrade ~= nil and lower(upgrade) == "websocket"
end


--- Give the upstream another Authorization header than the client's; "" is none.
function _M.set_authorization(value)
    var.yumen_authorization = value
end


--- The same of X-Api-Key.
function _M.set_api_key(value)
    var.yumen_api_key = value
end


--- Ask the upstream for a WebSocket, too.
function _M.upgrade()
    var.yumen_upgrade = "websocket"
    var.yumen_connection = "upgrade"
end


--- Send the request on as `forward` does, with the client's own headers.
-- @param server_name  nil without TLS
function _M.pass(url, host, server_name)
    var.yumen_url = url
    var.yumen_host = host
    if server_name then
        var.yumen_server_name = server_name
    end
end


return _M
