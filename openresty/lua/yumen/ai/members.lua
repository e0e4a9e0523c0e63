--- Finds the members of a JSON object in raw text, without decoding it, so that it can be spliced.
--
-- Offsets count bytes from 0. Nested values are skipped, with their brackets matched. Whatever two
-- parsers could read differently outside of strings (comments, single quotes, NUL) is refused.

local ffi = require "ffi"
local bit = require "bit"
local unescape = require "yumen.ai.escapes".unescape

local C = ffi.C
local cast = ffi.cast
local ffi_string = ffi.string
local tonumber = tonumber
local band = bit.band


ffi.cdef [[
size_t strcspn(const char *text, const char *reject);
size_t strspn(const char *text, const char *accept);
void *memchr(const void *text, int byte, size_t length);
int memcmp(const void *left, const void *right, size_t length);
]]


local _M = {
    OBJECT = 1, ARRAY = 2, STRING = 3, INTEGER = 4, NUMBER = 5, TRUE = 6, FALSE = 7, NULL = 8,
    max_depth = 256,
    max_members = 256,
}

local OBJECT, ARRAY, STRING = _M.OBJECT, _M.ARRAY, _M.STRING
local INTEGER, NUMBER = _M.INTEGER, _M.NUMBER
local MAX_DEPTH, MAX_MEMBERS = _M.max_depth, _M.max_members
local MAX_KNOWN = 1000              -- names remembered; senders choose them

local QUOTE, BACKSLASH, COMMA, COLON, MINUS, PLUS, DOT, ZERO = 34, 92, 44, 58, 45, 43, 46, 48
local OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET = 123, 125, 91, 93
local UPPER_E, LOWER_E, LOWER_T, LOWER_F, LOWER_N = 69, 101, 116, 102, 110

local SPACE = " \t\r\n"
local STRUCTURE = '"{}[]/\'#'
local DIGITS = "0123456789"

local WORDS = {
    [LOWER_T] = { text = "true", kind = _M.TRUE },
    [LOWER_F] = { text = "false", kind = _M.FALSE },
    [LOWER_N] = { text = "null", kind = _M.NULL },
}

local bytes = ffi.typeof("const uint8_t *")
local brackets = ffi.new("uint8_t[?]", MAX_DEPTH + 1)

-- What a byte outside of strings means. Strings are jumped over by memchr, and so is a long run of
-- plain bytes; single steps are cheaper than a call for the few bytes between strings.
local PLAIN, QUOTED, OPENING, CLOSING, REFUSED = 0, 1, 2, 3, 4
local LONG_RUN = 24
local class = ffi.new("uint8_t[256]")
class[QUOTE] = QUOTED
class[OPEN_BRACE], class[OPEN_BRACKET] = OPENING, OPENING
class[CLOSE_BRACE], class[CLOSE_BRACKET] = CLOSING, CLOSING
class[0], class[39], class[47], class[35] = REFUSED, REFUSED, REFUSED, REFUSED     -- NUL ' / #

-- A key of these bytes alone is what it looks like: no escape, no case, nothing to fold.
local plain_in_key = ffi.new("bool[256]")
for letter in ("abcdefghijklmnopqrstuvwxyz_0123456789"):gmatch(".") do
    plain_in_key[letter:byte()] = true
end


--- A view holds what the last scan found; it is made once and used again for every scan.
function _M.new_view()
    return {
        count = 0,
        open = 0,                                          -- offset of "{"
        close = 0,                                         -- offset of "}"
        names = {},                                        -- key, escapes decoded
        where = {},                                        -- key -> index, also of earlier scans
        known = 0,                                         -- keys in `where`
        plain = {},                                        -- true: nothing to decode or to fold
        kinds = ffi.new("uint8_t[?]", MAX_MEMBERS + 1),
        from = ffi.new("int32_t[?]", MAX_MEMBERS + 1),     -- first byte of the value
        to = ffi.new("int32_t[?]", MAX_MEMBERS + 1),       -- first byte after it
    }
end


local function skip_space(p, at)
    if p[at] > 32 then
        return at
    end
    return at + tonumber(C.strspn(cast("const char *", p) + at, SPACE))
end


--- Whether an odd number of backslashes stands before *at*, none of them before *first*.
local function is_escaped(p, first, at)
    local before = at - 1
    while before >= first and p[before] == BACKSLASH do
        before = before - 1
    end
    return band(at - before, 1) == 0
end


--- @return  offset of the quote that ends the string whose first byte is at *at*, nil: none
local function string_end(p, at, length)
    local from = at
    while true do
        local found = cast(bytes, C.memchr(p + from, QUOTE, length - from))
        if found == nil then
            return nil
        end
        local quote = tonumber(found - p)
        if quote == at or p[quote - 1] ~= BACKSLASH or not is_escaped(p, at, quote) then
            return quote
        end
        from = quote + 1
    end
end


_M.is_escaped, _M.string_end = is_escaped, string_end


--- @return  offset after the container that opens at *at*; or nil, what is wrong
local function container_end(p, at, length)
    local depth = 1                                        -- the object around it
    local run = 0
    repeat
        local byte = p[at]
        local kind = class[byte]
        at = at + 1
        if kind == PLAIN then
            run = run + 1
            if run > LONG_RUN then
                run = 0
                at = at + tonumber(C.strcspn(cast("const char *", p) + at, STRUCTURE))
            end
        elseif kind == QUOTED then
            run = 0
            local quote = string_end(p, at, length)
            if not quote then
                return nil, "a string that does not end"
            end
            at = quote + 1
        elseif kind == OPENING then
            depth = depth + 1
            if depth > MAX_DEPTH then
                return nil, "values nested more than 256 deep"
            end
            brackets[depth] = byte + 2                     -- "}" and "]" stand two after their pair
        elseif kind == CLOSING then
            if brackets[depth] ~= byte then
                return nil, "brackets that do not match"
            end
            depth = depth - 1
        elseif at > length then
            return nil, "an end before its closing bracket"
        else
            return nil, "a comment or a single quote outside of strings"
        end
    until depth == 1
    return at
end


local function digits_end(p, at)
    return at + tonumber(C.strspn(cast("const char *", p) + at, DIGITS))
end


--- @return  offset after the number at *at*, its kind; or nil
local function number_end(p, at)
    local first = at
    if p[first] == MINUS then
        first = first + 1
    end
    local last = digits_end(p, first)
    if last == first or (p[first] == ZERO and last > first + 1) then
        return nil
    end
    local kind = INTEGER
    if p[last] == DOT then
        kind, first = NUMBER, last + 1
        last = digits_end(p, first)
        if last == first then
            return nil
        end
    end
    if p[last] == LOWER_E or p[last] == UPPER_E then
        kind, first = NUMBER, last + 1
        if p[first] == PLUS or p[first] == MINUS then
            first = first + 1
        end
        last = digits_end(p, first)
        if last == first then
            return nil
        end
    end
    return last, kind
end


local function word_end(p, at, length, word)
    local last = at + #word.text
    if last > length or C.memcmp(p + at, word.text, #word.text) ~= 0 then
        return nil, "a value that is not JSON"
    end
    return last, word.kind
end


--- @return  offset after the value at *at*, its kind; or nil, what is wrong
local function value_end(p, at, length)
    local byte = p[at]
    if byte == QUOTE then
        local quote = string_end(p, at + 1, length)
        if not quote then
            return nil, "a string that does not end"
        end
        return quote + 1, STRING
    end
    if byte == OPEN_BRACE or byte == OPEN_BRACKET then
        local last, problem = container_end(p, at, length)
        return last, last and (byte == OPEN_BRACE and OBJECT or ARRAY) or problem
    end
    if byte == LOWER_T or byte == LOWER_F or byte == LOWER_N then
        return word_end(p, at, length, WORDS[byte])
    end
    local last, kind = number_end(p, at)
    if not last then
        return nil, "a value that is not JSON"
    end
    return last, kind
end


local function is_plain(p, from, to)
    for at = from, to - 1 do
        if not plain_in_key[p[at]] then
            return false
        end
    end
    return true
end


local function remember(view, name, index)
    if not view.where[name] then
        view.known = view.known + 1
        if view.known > MAX_KNOWN then
            view.where, view.known = {}, 1
        end
    end
    view.where[name] = index
end


--- Where the object that was scanned last has a member (the last one of that name); or nil.
function _M.find(view, name)
    local index = view.where[name]
    if index and index <= view.count and view.names[index] == name then
        return index
    end
end


local function read_key(view, index, p, from, to)
    local raw = ffi_string(p + from, to - from)
    local plain = is_plain(p, from, to)
    local name = plain and raw or unescape(raw)
    if not name then
        return false
    end
    view.plain[index], view.names[index] = plain, name
    remember(view, name, index)
    return true
end


--- Read one member whose key begins at *at*.
-- @return  offset after its value, skipping space; or nil, what is wrong
local function read_member(view, p, at, length)
    local index = view.count + 1
    if index > MAX_MEMBERS then
        return nil, "more than 256 fields"
    end
    if p[at] ~= QUOTE then
        return nil, "a field name that is not in double quotes"
    end
    local quote = string_end(p, at + 1, length)
    if not quote then
        return nil, "a string that does not end"
    end
    if not read_key(view, index, p, at + 1, quote) then
        return nil, "a field name with a wrong escape"
    end
    at = skip_space(p, quote + 1)
    if p[at] ~= COLON then
        return nil, "a field name without a colon after it"
    end
    at = skip_space(p, at + 1)
    local last, kind = value_end(p, at, length)
    if not last then
        return nil, kind
    end
    view.count = index
    view.kinds[index], view.from[index], view.to[index] = kind, at, last
    return skip_space(p, last)
end


--- Scan the object that *text* has at offset *at* into *view*.
-- @param text  a Lua string without NUL: the C functions used here stop at one
-- @return      offset after the object, skipping space; or nil, what is wrong
function _M.scan(view, text, at)
    local p, length = cast(bytes, text), #text
    view.count = 0
    at = skip_space(p, at or 0)
    if p[at] ~= OPEN_BRACE then
        return nil, "no JSON object"
    end
    view.open = at
    at = skip_space(p, at + 1)
    local problem
    if p[at] ~= CLOSE_BRACE then
        while true do
            at, problem = read_member(view, p, at, length)
            if not at then
                return nil, problem
            end
            if p[at] == CLOSE_BRACE then
                break
            end
            if p[at] ~= COMMA then
                return nil, "a field without a comma or a closing brace after it"
            end
            at = skip_space(p, at + 1)
        end
    end
    view.close = at
    return skip_space(p, at + 1)
end


return _M
