--- CRC-32 by zlib, which nginx itself is linked with.
local ffi = require "ffi"

local tonumber = tonumber

ffi.cdef [[
unsigned long crc32(unsigned long crc, const unsigned char *data, unsigned int length);
]]

-- Resolved now, so that a missing library stops the start and not a request.
local zlib = ffi.C
if not pcall(function() return zlib.crc32 end) then
    zlib = ffi.load("libz.so.1")
end


--- The CRC-32 of `length` bytes of a string or a C pointer.
return function(data, length)
    return tonumber(zlib.crc32(0, data, length))
end
