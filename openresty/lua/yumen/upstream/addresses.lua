--- Tells which IP addresses the gateway may connect to: public ones, and those the operator allows.
local ffi = require "ffi"
local networks = require "yumen.core.networks"

local parse, range, ranges = networks.parse, networks.range, networks.ranges
local within, within_any = networks.within, networks.within_any

-- Special-purpose ranges of the IANA registries, with all of IPv4 that is not plain unicast.
local REFUSED_IPV4 = {
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
}
-- Of IPv6 only 2000::/3 is routed; these stand inside it. 2001::/23 holds Teredo (2001::/32), which
-- like 6to4 (2002::/16) carries an IPv4 address of the sender's choice.
local ROUTED_IPV6 = "2000::/3"
local REFUSED_IPV6 = { "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20" }
local MAPPED_IPV4 = "::ffff:0:0/96"
local NAT64 = "64:ff9b::/96"

local _M = {}

local refused_ipv4, refused_ipv6 = ranges(REFUSED_IPV4), ranges(REFUSED_IPV6)
local routed_ipv6, mapped_ipv4, nat64 = range(ROUTED_IPV6), range(MAPPED_IPV4), range(NAT64)


local function is_public(bytes)
    if within(bytes, nat64) then
        ffi.fill(bytes, 10)
        bytes[10], bytes[11] = 255, 255
    end
    if within(bytes, mapped_ipv4) then
        return not within_any(bytes, refused_ipv4)
    end
    return within(bytes, routed_ipv6) and not within_any(bytes, refused_ipv6)
end


--- Make the check for a node.
-- @param allowed  list of ranges that the operator allows besides public addresses
-- @return         function(address text) -> true when it may be connected to
function _M.checker(allowed)
    local list = ranges(allowed or {})
    return function(text)
        local bytes = parse(text)
        return bytes ~= nil and (within_any(bytes, list) or is_public(bytes))
    end
end


return _M
