--- Which of an upstream's peers takes the next call. No nginx in here: lists, numbers, arithmetic.
--
-- A peer has `weight` (at least 1), `current` (0 at first), `in_flight` and `seed`, a 32-bit number
-- of its own. `tried`, when given, holds the peers that failed this call already, each true.
local bit = require "bit"

local bxor, lshift, rshift, tobit = bit.bxor, bit.lshift, bit.rshift, bit.tobit
local log = math.log

local TWO_TO_32 = 4294967296

local _M = {}


--- Smooth weighted round robin: of 10 calls to weights 5, 3 and 2 each gets its share, and none
-- gets a run of them.
function _M.round_robin(peers, tried)
    local best, total = nil, 0
    for i = 1, #peers do
        local peer = peers[i]
        if not (tried and tried[peer]) then
            local weight = peer.weight
            local current = peer.current + weight
            peer.current = current
            total = total + weight
            if not best or current > best.current then
                best = peer
            end
        end
    end
    if best then
        best.current = best.current - total
    end
    return best
end


--- The peer with the fewest calls in flight for its weight; those that tie take turns.
-- @param in_flight  function(peer) -> its calls in flight
function _M.least_connections(peers, tried, in_flight)
    local best, least, total = nil, nil, 0
    for i = 1, #peers do
        local peer = peers[i]
        if not (tried and tried[peer]) then
            local weight = peer.weight
            local load = (in_flight(peer) + 1) / weight
            local current = peer.current + weight
            peer.current = current
            total = total + weight
            if not best or load < least or (load == least and current > best.current) then
                best, least = peer, load
            end
        end
    end
    if best then
        best.current = best.current - total
    end
    return best
end


--- Mix 32 bits (Bob Jenkins): additions and shifts only, which a double holds exactly.
local function mix(a)
    a = tobit(tobit(a + 0x7ed55d16) + lshift(a, 12))
    a = bxor(bxor(a, 0xc761c23c), rshift(a, 19))
    a = tobit(tobit(a + 0x165667b1) + lshift(a, 5))
    a = bxor(tobit(a + 0xd3a2646c), lshift(a, 9))
    a = tobit(tobit(a + 0xfd7046c5) + lshift(a, 3))
    return bxor(bxor(a, 0xb55a4f09), rshift(a, 16))
end


--- Rendezvous: each peer draws a number from the hash and its seed; the luckiest takes the call.
-- A peer that goes gives only its own keys away, one that comes takes only its share.
-- @param hash  32-bit number of what decides, such as the client's address
function _M.rendezvous(peers, tried, hash)
    local best, shortest
    local mixed = mix(tobit(hash))
    for i = 1, #peers do
        local peer = peers[i]
        if not (tried and tried[peer]) then
            local drawn = mix(bxor(mixed, peer.seed)) % TWO_TO_32
            -- A draw from an exponential distribution: the shortest wins in proportion to weight.
            local wait = -log((drawn + 0.5) / TWO_TO_32) / peer.weight
            if not best or wait < shortest then
                best, shortest = peer, wait
            end
        end
    end
    return best
end


return _M
