--- Tells which IP addresses the gateway may connect to: public ones, and those the operator allows.
--
-- Every address is 16 bytes here, IPv4 as ::ffff:a.b.c.d, so that no other spelling of an address
-- passes where the plain one would not.

local bit = require "bit"
local ffi = require "ffi"

local C = ffi.C
local band, lshift, rshift = bit.band, bit.lshift, bit.rshift
local assert, ipairs, tonumber = assert, ipairs, tonumber

ffi.cdef [[
int inet_pton(int family, const char *text, void *address);
int memcmp(const void *left, const void *right, size_t length);
]]

local AF_INET, AF_INET6 = 2, 10

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


--- The 16 bytes of an address, or nil when *text* is none.
function _M.parse(text)
    local bytes = ffi.new("uint8_t[16]")
    if C.inet_pton(AF_INET6, text, bytes) == 1 then
        return bytes
    end
    if C.inet_pton(AF_INET, text, bytes + 12) == 1 then
        bytes[10], bytes[11] = 255, 255
        return bytes
    end
end


--- A range from "address/bits" or an address alone; nil when *text* is none.
function _M.range(text)
    local address, bits = text:match("^([%x:.]+)/(%d+)$")
    local bytes = _M.parse(address or text)
    if not bytes then
        return nil
    end
    local is_ipv4 = not (address or text):find(":", 1, true)
    bits = bits and tonumber(bits) + (is_ipv4 and 96 or 0) or 128
    return bits <= 128 and { bytes = bytes, bits = bits } or nil
end


local function within(bytes, range)
    local whole = rshift(range.bits, 3)
    if C.memcmp(bytes, range.bytes, whole) ~= 0 then
        return false
    end
    local rest = band(range.bits, 7)
    if rest == 0 then
        return true
    end
    local mask = band(lshift(255, 8 - rest), 255)
    return band(bytes[whole], mask) == band(range.bytes[whole], mask)
end


local function ranges(texts)
    local list = {}
    for index, text in ipairs(texts) do
        list[index] = assert(_M.range(text), text .. " is not an IP address range")
    end
    return list
end


local function within_any(bytes, list)
    for _, range in ipairs(list) do
        if within(bytes, range) then
            return true
        end
    end
    return false
end


local refused_ipv4, refused_ipv6 = ranges(REFUSED_IPV4), ranges(REFUSED_IPV6)
local routed_ipv6, mapped_ipv4, nat64 =
    _M.range(ROUTED_IPV6), _M.range(MAPPED_IPV4), _M.range(NAT64)


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
        local bytes = _M.parse(text)
        return bytes ~= nil and (within_any(bytes, list) or is_public(bytes))
    end
end


return _M
