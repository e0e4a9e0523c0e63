--- The client's connection itself, for what nginx passes without showing it to Lua.
--
-- The descriptor stands at a fixed place in nginx's structures (nginx 1.22 and OpenResty, 64 bits).
-- It is believed only when the socket has the port that nginx says the client came to.
local ffi = require "ffi"
local get_request = require("resty.core.base").get_request

local C = ffi.C
local cast = ffi.cast
local tonumber = tonumber
local var = ngx.var

ffi.cdef [[
typedef struct { uint16_t family; uint8_t port[2]; uint8_t rest[124]; } yumen_socket_name;
typedef struct { void *signature; void *connection; } yumen_request_head;
typedef struct { void *data; void *read; void *write; int descriptor; } yumen_connection_head;
int getsockname(int descriptor, yumen_socket_name *name, unsigned int *length);
int shutdown(int descriptor, int how);
]]

local SHUT_RDWR = 2
local request_type = ffi.typeof("yumen_request_head *")
local connection_type = ffi.typeof("yumen_connection_head *")
local name = ffi.new("yumen_socket_name")
local length = ffi.new("unsigned int[1]")

local _M = {}


--- The descriptor of this request's client, good until its log phase; nil when it is not found.
function _M.descriptor()
    local request = cast(request_type, get_request())
    local descriptor = cast(connection_type, request.connection).descriptor
    length[0] = ffi.sizeof(name)
    if descriptor < 0 or C.getsockname(descriptor, name, length) ~= 0 then
        return nil
    end
    local port = name.port[0] * 256 + name.port[1]
    return port == tonumber(var.server_port) and descriptor or nil
end


--- End a connection both ways; nginx notices and closes the upstream's, too.
function _M.shut(descriptor)
    C.shutdown(descriptor, SHUT_RDWR)
end


return _M
