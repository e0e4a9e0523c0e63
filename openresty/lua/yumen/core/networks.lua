--- IP addresses and ranges of them (CIDR), compared as bytes.
--
-- Every address is 16 bytes, IPv4 as ::ffff:a.b.c.d, so that no other spelling of an address passes
-- where the plain one would not.
local bit = require "bit"
local ffi = require "ffi"

local C = ffi.C
local assert, ipairs, tonumber = assert, ipairs, tonumber
local band, lshift, rshift = bit.band, bit.lshift, bit.rshift

ffi.cdef [[
int inet_pton(int family, const char *text, void *address);
int memcmp(const void *left, const void *right, size_t length);
]]

local AF_INET, AF_INET6 = 2, 10

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


--- The ranges of a list of texts; one that is none is an error.
function _M.ranges(texts)
    local list = {}
    for index, text in ipairs(texts) do
        list[index] = assert(_M.range(text), text .. " is not an IP address range")
    end
    return list
end


--- Whether an address lies in a range.
function _M.within(bytes, range)
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


--- Whether an address lies in one of the ranges of a list.
function _M.within_any(bytes, list)
    for _, range in ipairs(list) do
        if _M.within(bytes, range) then
            return true
        end
    end
    return false
end


return _M
