--- Decodes the escapes of a JSON string, strictly: what JSON does not know is told, never guessed.

local bit = require "bit"

local rshift, band, bor = bit.rshift, bit.band, bit.bor
local char = string.char
local find, gsub = string.find, string.gsub
local tonumber = tonumber

local ESCAPES = {
    ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

local _M = {}


local function utf8(code)
    if code < 0x80 then
        return char(code)
    elseif code < 0x800 then
        return char(bor(0xC0, rshift(code, 6)), bor(0x80, band(code, 0x3F)))
    elseif code < 0x10000 then
        return char(bor(0xE0, rshift(code, 12)), bor(0x80, band(rshift(code, 6), 0x3F)),
                    bor(0x80, band(code, 0x3F)))
    end
    return char(bor(0xF0, rshift(code, 18)), bor(0x80, band(rshift(code, 12), 0x3F)),
                bor(0x80, band(rshift(code, 6), 0x3F)), bor(0x80, band(code, 0x3F)))
end


local unescaped                                            -- nil once an escape was wrong


local function unescape_one(kind, rest)
    if kind ~= "u" then
        unescaped = unescaped and ESCAPES[kind] ~= nil
        return (ESCAPES[kind] or "") .. rest
    end
    local code = #rest == 4 and rest:find("^%x%x%x%x$") and tonumber(rest, 16)
    if not code or code == 0 then
        unescaped = false
        return ""
    end
    return utf8(code)
end


local function join_surrogates(a, b, c, d)
    local high = band(a:byte(), 0x0F) * 64 + band(b:byte(), 0x3F)
    local low = band(c:byte(), 0x0F) * 64 + band(d:byte(), 0x3F)
    return utf8(0x10000 + band(high, 0x3FF) * 1024 + band(low, 0x3FF))
end


--- Decode the inside of a JSON string.
-- @return  the text; or nil when it holds an escape that JSON does not know, or a NUL
function _M.unescape(raw)
    if not find(raw, "\\", 1, true) then
        return raw
    end
    unescaped = true
    -- What follows an escape comes along, up to the next one: it may be its four digits.
    local text = gsub(raw, "\\(.)([^\\]?[^\\]?[^\\]?[^\\]?)", unescape_one)
    if not unescaped then
        return nil
    end
    -- Surrogates were written as three bytes each: join the pairs.
    return (gsub(text, "\237([\160-\175])([\128-\191])\237([\176-\191])([\128-\191])",
                 join_surrogates))
end


return _M
