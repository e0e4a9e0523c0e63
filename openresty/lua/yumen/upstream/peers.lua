--- The addresses behind an upstream's targets: found, checked, and kept while they stay the same.
local addresses = require "yumen.upstream.addresses"
local crc32 = require "yumen.core.crc32"
local log = require "yumen.core.log"
local networks = require "yumen.core.networks"
local node = require "yumen.core.node"
local resolver = require "yumen.upstream.resolver"
local standing = require "yumen.upstream.standing"

local ipairs, max, min = ipairs, math.max, math.min
local now = ngx.now
local spawn, wait = ngx.thread.spawn, ngx.thread.wait
local timer_at = ngx.timer.at

local ADDRESS_SECONDS = 3600       -- an address literal cannot change; it is looked at again then
local SOONEST_SECONDS = 1
local RENEWING_SECONDS = 30        -- a renewal that has not ended by then is taken for dead

local _M = {}

local may_connect                  -- function(address): public, or allowed by the operator


--- In each worker, once.
function _M.init_worker()
    may_connect = addresses.checker(node.upstream_allow)
end


function _M.bracketed(host)
    return host:find(":", 1, true) and "[" .. host .. "]" or host
end


--- A server that is looked for: its host in lower case, port and weight.
function _M.server(host, port, weight)
    return { host = host:lower(), port = port, weight = weight,
             is_address = networks.parse(host) ~= nil }
end


--- The servers of a service: those of the lowest priority, which is the most wanted.
local function servers_of(service)
    local records, problem = resolver.resolve_service(service)
    local lowest
    for _, record in ipairs(records) do
        lowest = lowest and min(lowest, record.priority) or record.priority
    end
    local servers = {}
    for _, record in ipairs(records) do
        if record.priority == lowest then
            servers[#servers + 1] = _M.server(record.host, record.port, record.weight)
        end
    end
    return servers, problem
end


local function find(server)
    if server.is_address then
        return { server.host }
    end
    return resolver.resolve(server.host)
end


--- The addresses of each server, asked for at the same time. May yield.
local function find_all(servers)
    if #servers == 1 then
        return { { find(servers[1]) } }
    end
    local threads, found = {}, {}
    for i, server in ipairs(servers) do
        threads[i] = spawn(find, server)
    end
    for i, thread in ipairs(threads) do
        local ok, list, problem = wait(thread)
        found[i] = { ok and list or {}, problem }
    end
    return found
end


local function peer_of(target, server, address)
    local bracketed = _M.bracketed(address)
    local name = bracketed .. ":" .. server.port
    local peer = target.by_name[name]
    if not peer or peer.weight ~= server.weight or peer.server_host ~= server.host then
        local key = target.key .. " " .. name
        peer = standing.describe {
            key = key, name = name, address = bracketed, port = server.port,
            weight = server.weight, server_host = server.host, seed = crc32(key, #key),
            host_header = target.host_header_of(server), current = 0, in_flight = 0, failures = 0,
        }
    end
    return peer
end


--- Put what was found in the target's place. Peers that were there before keep what they know.
local function take(target, servers, found, problem)
    local peers, by_name, refused = {}, {}, false
    for i, server in ipairs(servers) do
        problem = found[i][2] or problem
        for _, address in ipairs(found[i][1]) do
            local peer = server.weight > 0 and may_connect(address)
                and peer_of(target, server, address)
            if peer and not by_name[peer.name] then
                by_name[peer.name] = peer
                peers[#peers + 1] = peer
            end
            refused = refused or not may_connect(address)
        end
    end
    if refused then
        log.error("upstream address refused by security.upstream_allow")
    elseif #peers == 0 then
        log.warn("upstream name does not resolve: ", problem or "no address")
    end
    target.peers, target.by_name = peers, by_name
    target.is_refused = refused
    target.generation = -1         -- sorted anew before the next call
end


local function good_until(target, servers, at)
    local soonest = at + ADDRESS_SECONDS
    if target.service then
        soonest = min(soonest, resolver.good_until("srv:" .. target.service))
    end
    for _, server in ipairs(servers) do
        if not server.is_address then
            soonest = min(soonest, resolver.good_until(server.host))
        end
    end
    return max(soonest, at + SOONEST_SECONDS)
end


--- Find the target's peers. May yield.
function _M.renew(target)
    target.renewing_until = now() + RENEWING_SECONDS
    local servers, problem = target.servers, nil
    if target.service then
        servers, problem = servers_of(target.service)
    end
    take(target, servers, find_all(servers), problem)
    target.good_until = good_until(target, servers, now())
    target.renewing_until = 0
end


local function renew_later(premature, target)
    if not premature then
        _M.renew(target)
    end
end


--- Find the target's peers in a timer, unless one is at it.
function _M.renew_soon(target, at)
    if at > target.renewing_until then
        target.renewing_until = at + RENEWING_SECONDS
        timer_at(0, renew_later, target)
    end
end


--- See that the target has peers. While it has some, nobody waits for news of them.
function _M.ensure(target, at)
    if at < target.good_until then
        return
    end
    if #target.peers == 0 then
        return _M.renew(target)
    end
    _M.renew_soon(target, at)
end


return _M
