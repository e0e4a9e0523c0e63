--- Chooses the peer of a call: whom the upstream's balancing names among those that are used.
local balancing = require "yumen.upstream.balancing"
local crc32 = require "yumen.core.crc32"
local health = require "yumen.upstream.health"
local log = require "yumen.core.log"
local request = require "yumen.core.request"
local standing = require "yumen.upstream.standing"

local gsub, lower = string.gsub, string.lower
local in_flight = standing.in_flight
local least_connections, rendezvous = balancing.least_connections, balancing.rendezvous
local round_robin = balancing.round_robin

local FAR = math.huge

local _M = {}


-- Of a request, what decides its peer; nil when it has none.
local VALUES = {
    address = function() return request.get("remote_addr") end,
    header = function(_, variable) return request.get(variable) end,
    cookie = function(_, variable) return request.get(variable) end,
    path = function(ctx) return ctx.path end,
    key = function(ctx) return ctx.credential and ctx.credential.id end,
}


--- How nginx names what is hashed, or nil when it needs no name.
local function variable_of(hash_on)
    if hash_on.source == "header" then
        return "http_" .. gsub(lower(hash_on.name), "-", "_")
    elseif hash_on.source == "cookie" then
        return "cookie_" .. hash_on.name
    end
end


--- Give a target the way in which it is balanced.
-- @param document  balancing, hashOn
function _M.prepare(target, document)
    target.balancing = document.balancing
    target.counts = document.balancing == "leastConnections"
    if document.hashOn then
        target.value = VALUES[document.hashOn.source]
        target.variable = variable_of(document.hashOn)
    end
    target.usable, target.trials, target.review_at = {}, {}, FAR
end


--- The peers are looked at anew when something has changed, or a time has come.
local function review(target, generation, at)
    standing.read(target.peers, target.health_check ~= nil)
    local panics, next_at = health.sort(target.peers, at, target.usable, target.trials)
    if panics and not target.panics then
        log.warn("more than half of the peers of upstream ", target.key, " fail; all are used")
    end
    target.panics, target.review_at, target.generation = panics, next_at or FAR, generation
end


--- A peer that was left out and may show by this call that it is well; or nil.
local function on_trial(target, tried)
    for _, peer in ipairs(target.trials) do
        if not (tried and tried[peer]) and standing.try_out(peer, target.passive) then
            return peer
        end
    end
end


local function balanced(target, ctx, peers, tried)
    if target.balancing == "leastConnections" then
        return least_connections(peers, tried, in_flight)
    elseif target.balancing == "consistentHash" then
        local value = target.value(ctx, target.variable)
        if value and value ~= "" then
            return rendezvous(peers, tried, crc32(value, #value))
        end
    end
    return round_robin(peers, tried)
end


--- The peer that takes a call, or nil when there is none.
-- @param tried  peers that have failed it, each true; or nil
function _M.peer(target, ctx, at, tried)
    local generation = standing.generation()
    if generation ~= target.generation or at >= target.review_at then
        review(target, generation, at)
    end
    local usable, trials = target.usable, target.trials
    if not tried and #trials > 0 then
        local peer = on_trial(target)
        if peer then
            return peer
        end
    end
    if #usable == 1 and not tried then
        return usable[1]
    end
    return balanced(target, ctx, usable, tried)
end


return _M
