--- The connections of a request themselves, for what nginx does not show to Lua.
--
-- Their descriptors stand at fixed places in nginx's structures (nginx 1.22 and OpenResty, 64
-- bits). They are believed only when the socket has the port that nginx says it has: the client's
-- the one that it came to, the upstream's that of the peer.
local band = require("bit").band
local ffi = require "ffi"
local get_request = require("resty.core.base").get_request

local C = ffi.C
local cast = ffi.cast
local tonumber = tonumber
local var = ngx.var

ffi.cdef [[
typedef struct { uint16_t family; uint8_t port[2]; uint8_t rest[124]; } yumen_socket_name;
typedef struct { void *signature; void *connection; } yumen_request_head;
typedef struct { void *data; void *read; void *write; int descriptor; void *handlers[4];
                 void *listening; int64_t sent; } yumen_connection_head;
typedef struct { void *handlers[2]; void *connection; } yumen_upstream_head;
typedef struct { uint8_t flags[8]; uint32_t numbers[56]; } yumen_tcp_info;
typedef struct { int descriptor; short events; short found; } yumen_poll;
int getsockname(int descriptor, yumen_socket_name *name, unsigned int *length);
int getpeername(int descriptor, yumen_socket_name *name, unsigned int *length);
int getsockopt(int descriptor, int level, int option, void *value, unsigned int *length);
int poll(yumen_poll *polls, unsigned long count, int milliseconds);
int shutdown(int descriptor, int how);
]]

local SHUT_RDWR = 2
local POLLIN, POLLOUT = 1, 4
local IPPROTO_TCP, TCP_INFO = 6, 11
local SINCE_RECEIVED = 11            -- among the numbers of TCP_INFO: milliseconds
-- The place of the upstream among the words of nginx's request; one before it may be compiled out.
local UPSTREAM = ngx.config.nginx_configure():find("--without-http-cache", 1, true) and 8 or 9
local request_type = ffi.typeof("yumen_request_head *")
local connection_type = ffi.typeof("yumen_connection_head *")
local words_type = ffi.typeof("void **")
local upstream_type = ffi.typeof("yumen_upstream_head *")
local name = ffi.new("yumen_socket_name")
local length = ffi.new("unsigned int[1]")
local info = ffi.new("yumen_tcp_info")
local polled = ffi.new("yumen_poll")

local _M = {}


local function has_port(port)
    return name.port[0] * 256 + name.port[1] == port
end


--- The descriptor of this request's client, good until its log phase; nil when it is not found.
function _M.descriptor()
    local request = cast(request_type, get_request())
    local descriptor = cast(connection_type, request.connection).descriptor
    length[0] = ffi.sizeof(name)
    if descriptor < 0 or C.getsockname(descriptor, name, length) ~= 0 then
        return nil
    end
    return has_port(tonumber(var.server_port)) and descriptor or nil
end


--- This request, for `upstream`; good until its log phase.
function _M.request()
    return get_request()
end


--- The descriptor of a request's connection to its peer, and how many bytes of the request have
-- gone there; nil while there is none.
-- @param port  the peer's
function _M.upstream(request, port)
    local upstream = cast(words_type, request)[UPSTREAM]
    local connection = upstream ~= nil and cast(upstream_type, upstream).connection
    if not connection or connection == nil then
        return nil
    end
    local head = cast(connection_type, connection)
    length[0] = ffi.sizeof(name)
    if head.descriptor < 0 or C.getpeername(head.descriptor, name, length) ~= 0
        or not has_port(port) then
        return nil
    end
    return head.descriptor, tonumber(head.sent)
end


--- Whether a connection has something to read, and whether it takes something to send.
function _M.poll(descriptor)
    polled.descriptor, polled.events, polled.found = descriptor, POLLIN + POLLOUT, 0
    C.poll(polled, 1, 0)
    return band(polled.found, POLLIN) ~= 0, band(polled.found, POLLOUT) ~= 0
end


--- Seconds since something came; nil where the system does not tell.
function _M.since_received(descriptor)
    length[0] = ffi.sizeof(info)
    if C.getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, info, length) ~= 0 then
        return nil
    end
    return info.numbers[SINCE_RECEIVED] / 1000
end


--- End a connection both ways; nginx notices and closes the other one, too.
function _M.shut(descriptor)
    C.shutdown(descriptor, SHUT_RDWR)
end


return _M
