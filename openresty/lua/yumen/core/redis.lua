--- The Redis client under one face; only this file knows that OpenResty and Debian name it apart.
local found, client = pcall(require, "resty.redis")
if not found then
    client = require "nginx.redis"
end

local networks = require "yumen.core.networks"
local resolver = require "yumen.upstream.resolver"

local null = ngx.null

local CONNECT_MS = 1000
local COMMAND_MS = 2000
local IDLE_MS = 10000
local POOL_SIZE = 4

local _M = { null = null }


local function introduce(redis, options)
    if redis:get_reused_times() > 0 then
        return true
    end
    local ok, err = true, nil
    if options.password then
        if options.username then
            ok, err = redis:auth(options.username, options.password)
        else
            ok, err = redis:auth(options.password)
        end
    end
    if ok and options.database ~= 0 then
        ok, err = redis:select(options.database)
    end
    return ok, err
end


--- Lua's sockets know no name without a `resolver` directive, and with one none of /etc/hosts.
local function connect_host(redis, host, port)
    if not networks.parse(host) then
        local known, err = resolver.resolve(host:lower())
        if not known[1] then
            return nil, host .. " does not resolve: " .. (err or "no address")
        end
        host = known[1]
    end
    return redis:connect(host:find(":", 1, true) and "[" .. host .. "]" or host, port)
end


--- A connection as node.json's `redis` says; or nil, err.
-- @param timeout_ms of each command; one that blocks needs longer than it blocks
-- @param connect_ms nil is a second
function _M.connect(options, timeout_ms, connect_ms)
    local redis, err = client:new()
    if not redis then
        return nil, err
    end
    redis:set_timeout(connect_ms or CONNECT_MS)
    local ok
    if options.socket then
        ok, err = redis:connect("unix:" .. options.socket)
    else
        ok, err = connect_host(redis, options.host, options.port)
    end
    if ok then
        redis:set_timeout(timeout_ms or COMMAND_MS)
        ok, err = introduce(redis, options)
    end
    if not ok then
        return nil, err
    end
    return redis
end


--- Keep a connection that has nothing outstanding for later.
function _M.release(redis)
    redis:set_keepalive(IDLE_MS, POOL_SIZE)
end


return _M
