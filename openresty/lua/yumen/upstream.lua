--- Where a call goes: one of its upstream's peers, over a connection pool of the upstream's own.
--
-- A *target* is what a document says of an upstream, made ready: `target` makes one of a model's
-- endpoint, `target_of` one of a document in section `upstreams`.
local balancer = require "ngx.balancer"
local checks = require "yumen.upstream.checks"
local choice = require "yumen.upstream.choice"
local log = require "yumen.core.log"
local node = require "yumen.core.node"
local peers = require "yumen.upstream.peers"
local request = require "yumen.core.request"
local retry_budget = require "yumen.upstream.retry_budget"
local slots = require "yumen.upstream.slots"
local standing = require "yumen.upstream.standing"
local telemetry = require "yumen.telemetry"

local get_last_failure = balancer.get_last_failure
local gmatch = string.gmatch
local now = ngx.now
local recreate_request = balancer.recreate_request
local set_current_peer, set_more_tries = balancer.set_current_peer, balancer.set_more_tries
local set_timeouts = balancer.set_timeouts

local DEFAULT_PORTS = { http = 80, https = 443 }
local KEEPALIVE_MARGIN_SECONDS = 1
local STALE_CONNECTION_SECONDS = 1
local TIMEOUT = 504
-- Answers of a peer that say that it, not the call, is at fault.
local FAILURES = { [502] = true, [503] = true, [504] = true }
-- The location of nginx.conf in which answers of `retries.statuses` are sent again.
local RETRY_LOCATIONS = { unavailable = "@unavailable", unavailableOrBusy = "@unavailable_or_busy" }
-- The methods that nginx knows, and so those of which it knows whether they may be sent twice.
local KNOWN_METHODS = {}
for name in gmatch("GET HEAD POST PUT PATCH DELETE OPTIONS COPY MOVE MKCOL PROPFIND PROPPATCH LOCK "
                   .. "UNLOCK", "%u+") do
    KNOWN_METHODS[name] = true
end
-- A model's host may have several addresses; one that does not answer is left out for a while.
local MODELS = { balancing = "roundRobin", passive = { failures = 5, seconds = 10 } }

local _M = {
    overflowed = 0,      -- requests that found every slot taken by other upstreams
}

local pools


--- In each worker, once.
function _M.init_worker()
    peers.init_worker()
    standing.init_worker()
    pools = slots.new(node.upstream_slots, node.keepalive_seconds + KEEPALIVE_MARGIN_SECONDS)
end


--- In each worker, once: one of them asks peers how they are.
function _M.start_checks()
    if ngx.worker.id() == 0 then
        checks.start(_M.target_of)
    end
end


--- A Host header: the port is left out where it goes without saying.
local function with_port(scheme, host, port)
    local text = peers.bracketed(host)
    return port == DEFAULT_PORTS[scheme] and text or text .. ":" .. port
end


local function new(scheme, key, origin, server_name, document)
    local target = {
        scheme = scheme, key = key, origin = origin, server_name = server_name, path = "",
        passive = document.passive, peers = {}, by_name = {}, good_until = 0, renewing_until = 0,
        attempts = 0,
        prefixes = {},     -- slot number -> "http://yumen_7/v1"
        host_header_of = function(server) return with_port(scheme, server.host, server.port) end,
    }
    choice.prepare(target, document)
    return target
end


--- The target of a model, as long as its document is the same.
-- @param endpoint  scheme, host, port, path
function _M.target(endpoint)
    local origin = endpoint.port .. "/" .. endpoint.scheme .. "/" .. endpoint.host:lower()
    local target = new(endpoint.scheme, origin, origin, endpoint.host, MODELS)
    target.path = endpoint.path
    target.servers = { peers.server(endpoint.host, endpoint.port, 1) }
    target.host_header = with_port(endpoint.scheme, endpoint.host, endpoint.port)
    return target
end


local function servers_of(document)
    local servers = {}
    for i, server in ipairs(document.targets) do
        servers[i] = peers.server(server.host, server.port, server.weight)
    end
    return servers
end


--- The target of a document in section `upstreams`, made once and kept on the document.
function _M.target_of(document)
    local target = document.target
    if target then
        return target
    end
    local name = document.serverName or ""
    target = new(document.scheme, document.id, document.id .. "/" .. document.scheme .. "/" .. name,
                 name, document)
    target.servers = servers_of(document)
    target.service = document.service and document.service.srv
    target.pass_host = document.passHost
    target.host_header = document.host
    target.health_check = document.healthCheck
    target.attempts = document.retries.attempts
    if target.attempts > 0 then
        target.location = RETRY_LOCATIONS[document.retries.statuses]
        target.budget = retry_budget.new(standing.store, document.id)
    end
    document.target = target
    return target
end


--- The Host header of a call to the peer that was chosen.
local function host_header(ctx, target, peer)
    if target.pass_host == "client" then
        return ctx.host
    end
    return target.host_header or peer.host_header
end


local function prefix(target, name)
    local text = target.scheme .. "://yumen_" .. name .. target.path
    target.prefixes[name] = text
    return text
end


local function assign(ctx, target, peer)
    ctx.upstream_peer = peer
    ctx.peer, ctx.peer_port = peer.address, peer.port
    if target.counts then
        standing.fly(peer, 1)
    end
end


local function leave(ctx, target)
    local peer = ctx.upstream_peer
    ctx.upstream_peer = nil
    if peer and target.counts then
        standing.fly(peer, -1)
    end
    return peer
end


--- Reserve peer and pool for a call; `release` in the log phase gives them back. May yield.
-- The Host header that belongs to the call is left in `ctx.upstream_host`.
-- @return  URL prefix to forward to, such as "http://yumen_7/v1"; or nil, code
function _M.reserve(ctx, target)
    local at = now()
    peers.ensure(target, at)
    local peer = choice.peer(target, ctx, at)
    if not peer then
        if target.is_refused then
            return nil, "upstream_forbidden"
        end
        return nil, "upstream_unreachable"
    end
    ctx.target = target
    assign(ctx, target, peer)
    ctx.upstream_host = host_header(ctx, target, peer)
    local slot = pools:take(target.origin, now())
    if not slot then
        _M.overflowed = _M.overflowed + 1
        telemetry.note("unpooled")
        if _M.overflowed % 1000 == 1 then
            log.warn("more upstreams than gateway.upstream_slots: ", _M.overflowed,
                     " requests without a kept connection")
        end
        return target.prefixes.direct or prefix(target, "direct")
    end
    ctx.slot = slot
    return target.prefixes[slot.number] or prefix(target, slot.number)
end


--- Tell nginx that it may come here once more for another peer.
local function allow_another(ctx, target)
    if ctx.tries < target.attempts and #target.peers > 1 and KNOWN_METHODS[ctx.method]
        and target.budget:has_room() then
        ctx.may_retry = true
        set_more_tries(1)
    end
end


local function first(ctx, target)
    ctx.tries = 0
    local budget = target.budget
    if budget then
        budget:count(ctx.connected_at)
        allow_another(ctx, target)
    end
    return set_current_peer(ctx.peer, ctx.peer_port)
end


--- The peer failed, and nginx found the call fit to be sent again: to another one.
local function again(ctx, target, at)
    ctx.may_retry = nil
    local _, status = get_last_failure()
    status = ctx.failure or status
    local peer = leave(ctx, target)
    if peer and target.passive and (status == 0 or FAILURES[status]) then
        standing.failed(peer, target.passive)
    end
    local tried = ctx.tried or {}
    ctx.tried, tried[peer] = tried, true
    local another = target.budget:spend(at) and choice.peer(target, ctx, at, tried)
    if not another then
        ctx.failure = status == TIMEOUT and TIMEOUT or nil
        return nil
    end
    ctx.failure = nil
    assign(ctx, target, another)
    ctx.tries = ctx.tries + 1
    telemetry.note("retried")
    allow_another(ctx, target)
    local host = host_header(ctx, target, another)
    if host ~= ctx.upstream_host then
        ctx.upstream_host = host
        request.set_upstream_host(host)
        recreate_request()
    end
    return set_current_peer(ctx.peer, ctx.peer_port)
end


--- In balancer: connect to the address that was checked. nginx comes here again when the call may
-- go to another peer; and, for the same one, when a kept connection gave no answer. At once: it had
-- been closed before. Later: the upstream had the request, and a second one could be a second call
-- on its bill.
-- @param ctx  `timeouts`: seconds to connect, send and read; nil is as nginx.conf says
function _M.connect(ctx)
    local at = now()
    local timeouts = ctx.timeouts
    if timeouts then
        set_timeouts(timeouts.connect, timeouts.send, timeouts.read)
    end
    local before = ctx.connected_at
    ctx.connected_at = at
    local target = ctx.target
    if not before then
        return first(ctx, target)
    elseif ctx.may_retry then
        return again(ctx, target, at)
    elseif ctx.failure or at - before > STALE_CONNECTION_SECONDS then
        return nil
    end
    return set_current_peer(ctx.peer, ctx.peer_port)
end


--- What the call says of its peer: an answer, or that nginx found none.
local function judge(ctx, peer, passive)
    local failed, status = ctx.failed, ctx.upstream_status
    if failed == 502 or failed == 504 or FAILURES[status] then
        standing.failed(peer, passive)
    elseif status then
        standing.succeeded(peer)
    end
end


--- In log: the call is over.
function _M.release(ctx)
    local slot, target = ctx.slot, ctx.target
    if slot then
        ctx.slot = nil
        pools:release(slot, now())
    end
    local peer = target and leave(ctx, target)
    if peer and target.passive and ctx.connected_at then
        judge(ctx, peer, target.passive)
    end
end


return _M
