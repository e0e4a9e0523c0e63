--- Ends open WebSockets that are too old, or whose tenant or credential may no longer call.
--
-- nginx passes their bytes without showing them to Lua, so that they cost what they cost in nginx.
-- A timer looks after them each second and ends the client's connection; nginx closes the other.
local config = require "yumen.config"
local connection = require "yumen.core.connection"
local log = require "yumen.core.log"
local seconds = require("yumen.core.clock").seconds
local standing = require "yumen.standing"
local telemetry = require "yumen.telemetry"

local pairs = pairs
local timer_every = ngx.timer.every

local EVERY_SECONDS = 1

local levels = telemetry.levels
local open = {}                      -- ctx -> descriptor

local _M = {}


local function must_end(ctx, now)
    if (ctx.ends_by and ctx.ends_by <= now) or (ctx.ends_at and ctx.ends_at <= now) then
        return true
    end
    if ctx.generation == config.generation then
        return false
    end
    ctx.generation = config.generation
    local tenant = config.get("tenants", ctx.tenant.id)
    local credential = standing.latest(ctx.credential)
    if standing.of_tenant(tenant) or not credential or standing.of_credential(credential) then
        return true
    end
    ctx.ends_at = standing.end_of(tenant, credential)
    return false
end


local function look(premature)
    if premature then
        return
    end
    local now = seconds()
    for ctx, descriptor in pairs(open) do
        if must_end(ctx, now) then
            connection.shut(descriptor)
        end
    end
end


--- In each worker, once.
function _M.init_worker()
    local ok, problem = timer_every(EVERY_SECONDS, look)
    if not ok then
        log.error("open WebSockets are not looked after: ", problem)
    end
end


--- Whether a request's connection could be ended later, should it become a WebSocket.
function _M.prepare(ctx)
    ctx.descriptor = connection.descriptor()
    return ctx.descriptor ~= nil
end


--- A connection became a WebSocket. One that nobody asked for ends at once.
-- @param ctx  `generation` and `ends_at` of open_streams
function _M.open(ctx)
    if not ctx.descriptor then
        log.warn("an upstream answered 101 to a request that was none for a WebSocket")
        local descriptor = connection.descriptor()
        return descriptor and connection.shut(descriptor)
    end
    local most = ctx.route.document.webSocket.maxAge
    ctx.ends_by = most and seconds() + most
    open[ctx] = ctx.descriptor
    levels.sockets = levels.sockets + 1
end


--- In log: it is over.
function _M.close(ctx)
    if open[ctx] then
        open[ctx] = nil
        levels.sockets = levels.sockets - 1
    end
end


return _M
