--- The check at the end of an API key: CRC-32 of what stands before it, as 6 base62 characters.
local crc32 = require "yumen.core.crc32"

local byte = string.byte
local floor = math.floor

local ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
local CHECK_LENGTH = 6

local values = {}
for i = 1, #ALPHABET do
    values[byte(ALPHABET, i)] = i - 1
end

local _M = {}


--- Whether the last 6 characters are the check of those before them.
function _M.check(key)
    local length = #key
    local sum = 0
    for i = length - CHECK_LENGTH + 1, length do
        local value = values[byte(key, i)]
        if not value then
            return false
        end
        sum = sum * 62 + value
    end
    return sum == crc32(key, length - CHECK_LENGTH)
end


--- The check of a text, to be put behind it.
function _M.of(text)
    local rest = crc32(text, #text)
    local digits = ""
    for _ = 1, CHECK_LENGTH do
        local value = rest % 62
        digits = ALPHABET:sub(value + 1, value + 1) .. digits
        rest = floor(rest / 62)
    end
    return digits
end


return _M
