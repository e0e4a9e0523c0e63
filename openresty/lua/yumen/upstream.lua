--- Where a call goes: a checked address of the model's host, over a connection pool of its own.
local addresses = require "yumen.upstream.addresses"
local balancer = require "ngx.balancer"
local log = require "yumen.core.log"
local networks = require "yumen.core.networks"
local node = require "yumen.core.node"
local resolver = require "yumen.upstream.resolver"
local slots = require "yumen.upstream.slots"

local now = ngx.now
local set_current_peer = balancer.set_current_peer

local DEFAULT_PORTS = { http = 80, https = 443 }
local KEEPALIVE_MARGIN_SECONDS = 1
local STALE_CONNECTION_SECONDS = 1

local _M = {
    overflowed = 0,      -- requests that found every slot taken by other origins
}

local may_connect        -- function(address): public, or allowed by the operator
local pools


--- In each worker, once.
function _M.init_worker()
    may_connect = addresses.checker(node.upstream_allow)
    pools = slots.new(node.upstream_slots, node.keepalive_seconds + KEEPALIVE_MARGIN_SECONDS)
end


local function bracketed(host)
    return host:find(":", 1, true) and "[" .. host .. "]" or host
end


--- What does not change for a model while its document does not.
-- @param endpoint  scheme, host, port, path
function _M.target(endpoint)
    local host = bracketed(endpoint.host)
    local is_default = endpoint.port == DEFAULT_PORTS[endpoint.scheme]
    return {
        scheme = endpoint.scheme,
        host = endpoint.host:lower(),
        port = endpoint.port,
        path = endpoint.path,
        is_address = networks.parse(endpoint.host) ~= nil,
        host_header = is_default and host or host .. ":" .. endpoint.port,
        server_name = endpoint.host,
        origin = endpoint.port .. "/" .. endpoint.scheme .. "/" .. endpoint.host:lower(),
        found = nil,       -- addresses as the resolver gave them
        peers = nil,       -- those of them that may be connected to, as nginx writes them
        turn = 0,
        prefixes = {},     -- slot number -> "http://yumen_7/v1"
    }
end


local function check(target, found)
    local peers = {}
    for _, address in ipairs(found) do
        if may_connect(address) then
            peers[#peers + 1] = bracketed(address)
        end
    end
    target.found, target.peers = found, peers
end


--- Choose the peer of a call. May yield while DNS is asked.
-- @return  address; or nil, code
local function choose_peer(target)
    local found, problem
    if target.is_address then
        found = target.found or { target.host }
    else
        found, problem = resolver.resolve(target.host)
    end
    if found ~= target.found then
        check(target, found)
    end
    local peers = target.peers
    local count = #peers
    if count == 1 then
        return peers[1]
    elseif count > 1 then
        target.turn = target.turn % count + 1
        return peers[target.turn]
    end
    if #found > 0 then
        log.error("upstream address refused by security.upstream_allow")
        return nil, "upstream_forbidden"
    end
    log.warn("upstream name does not resolve: ", problem or "no address")
    return nil, "upstream_unreachable"
end


local function prefix(target, name)
    local text = target.scheme .. "://yumen_" .. name .. target.path
    target.prefixes[name] = text
    return text
end


--- Reserve peer and pool for a call; `release` in the log phase gives them back. May yield.
-- @return  URL prefix to forward to, such as "http://yumen_7/v1"; or nil, code
function _M.reserve(ctx, target)
    local peer, code = choose_peer(target)
    if not peer then
        return nil, code
    end
    ctx.peer, ctx.peer_port = peer, target.port
    local slot = pools:take(target.origin, now())
    if not slot then
        _M.overflowed = _M.overflowed + 1
        if _M.overflowed % 1000 == 1 then
            log.warn("more upstream hosts than gateway.upstream_slots: ", _M.overflowed,
                     " requests without a kept connection")
        end
        return target.prefixes.direct or prefix(target, "direct")
    end
    ctx.slot = slot
    return target.prefixes[slot.number] or prefix(target, slot.number)
end


--- In balancer: connect to the address that was checked. nginx comes here again, for the same peer,
-- when a kept connection gave no answer. At once: it had been closed before. Later: the upstream
-- had the request, and a second one could be a second call on its bill.
function _M.connect(ctx)
    local at = now()
    if ctx.connected_at and at - ctx.connected_at > STALE_CONNECTION_SECONDS then
        return nil
    end
    ctx.connected_at = at
    return set_current_peer(ctx.peer, ctx.peer_port)
end


--- In log: the call is over.
function _M.release(ctx)
    local slot = ctx.slot
    if slot then
        ctx.slot = nil
        pools:release(slot, now())
    end
end


return _M
