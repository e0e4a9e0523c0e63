--- Watches a JSON answer go by, in chunks of any size, and keeps only its top-level `usage` object.
--
-- It also tells whether the whole object was seen: an answer that was cut off can look like a
-- success in every other way.

local ffi = require "ffi"
local members = require "yumen.ai.members"
local unescape = require "yumen.ai.escapes".unescape

local C = ffi.C
local cast = ffi.cast
local concat = table.concat
local find, sub = string.find, string.sub
local is_escaped, string_end = members.is_escaped, members.string_end
local tonumber = tonumber

local QUOTE, COMMA, COLON = 34, 44, 58
local OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET = 123, 125, 91, 93

local STRUCTURE = '"{}[],:'
-- What a byte outside of strings means; see members.lua.
local PLAIN, QUOTED, OPENING, CLOSING, BEFORE_KEY, BEFORE_VALUE = 0, 1, 2, 3, 4, 5
local LONG_RUN = 24
local class = ffi.new("uint8_t[256]")
class[QUOTE], class[COMMA], class[COLON] = QUOTED, BEFORE_KEY, BEFORE_VALUE
class[OPEN_BRACE], class[OPEN_BRACKET] = OPENING, OPENING
class[CLOSE_BRACE], class[CLOSE_BRACKET] = CLOSING, CLOSING

local MAX_KEY_BYTES = 64
local MAX_USAGE_BYTES = 16384

local bytes = ffi.typeof("const uint8_t *")

local _M = {}


--- A fresh watcher. `whole` becomes true when the object closed, `usage` is its raw text.
function _M.new()
    return {
        depth = 0,
        whole = false,
        broken = false,           -- no object, or something follows it
        in_string = false,
        escaped = false,          -- the next byte of the string stands behind a backslash
        at_key = false,           -- the next string at the top level is a key
        key = nil,                -- the parts of a key that chunks cut
        matched = false,          -- the key was "usage"
        kept = nil,               -- parts of the usage object while it goes by
        kept_bytes = 0,
        usage = nil,
    }
end


local function keep(self, text)
    self.kept_bytes = self.kept_bytes + #text
    if self.kept_bytes <= MAX_USAGE_BYTES then
        self.kept[#self.kept + 1] = text
    end
end


local function end_usage(self, text)
    keep(self, text)
    self.usage = self.kept_bytes <= MAX_USAGE_BYTES and concat(self.kept) or nil
    self.kept = nil
end


--- Keep the beginning of a key that the chunk cuts.
local function begin_key(self, text)
    local key = self.key or ""
    self.key = #key < MAX_KEY_BYTES and key .. text or key
end


--- Whether the key whose last part is *text* is "usage".
local function is_usage(self, text)
    local key = self.key
    if not key then
        return text == "usage" or find(text, "\\", 1, true) and unescape(text) == "usage"
    end
    self.key = nil
    return unescape(key .. text) == "usage"
end


--- A string of the top level ended; was it a key?
local function end_string(self, text)
    if self.at_key then
        self.at_key = false
        self.matched = is_usage(self, text)
    end
end


--- The chunk ends within a string. What may be an escape begins at *first*, the string at *from*.
local function leave_in_string(self, text, p, from, first, length)
    self.in_string = true
    self.escaped = length > first and is_escaped(p, first, length)
    if self.at_key then
        begin_key(self, sub(text, from + 1))
    end
end


--- Go on in a string that an earlier chunk began.
-- @return  offset after it, or *length* when it goes on
local function resume_string(self, text, p, length)
    local first = self.escaped and 1 or 0
    local quote = string_end(p, first, length)
    if not quote then
        leave_in_string(self, text, p, 0, first, length)
        return length
    end
    self.in_string, self.escaped = false, false
    end_string(self, sub(text, 1, quote))
    return quote + 1
end


--- A bracket opened, now *depth* deep.
local function open(self, byte, depth)
    if depth == 1 then
        self.broken = self.whole or byte ~= OPEN_BRACE
        self.at_key = true
    elseif depth == 2 and self.matched and byte == OPEN_BRACE then
        self.kept, self.kept_bytes = {}, 0
        return true
    end
end


--- Look at the next chunk of the answer.
function _M.feed(self, text)
    local p, length = cast(bytes, text), #text
    if length == 0 then
        return
    end
    local depth, run, keep_from = self.depth, 0, 0
    local at = self.in_string and resume_string(self, text, p, length) or 0
    while at < length do
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
                leave_in_string(self, text, p, at, at, length)
                break
            end
            if depth == 1 and self.at_key then
                end_string(self, sub(text, at + 1, quote))
            end
            at = quote + 1
        elseif kind == OPENING then
            depth = depth + 1
            if depth < 3 and open(self, byte, depth) then
                keep_from = at - 1
            end
        elseif kind == CLOSING then
            depth = depth - 1
            if depth == 1 and self.kept then
                end_usage(self, sub(text, keep_from + 1, at))
            elseif depth == 0 then
                self.whole = not self.broken
            end
        elseif depth == 1 then                             -- a comma or a colon
            self.at_key = kind == BEFORE_KEY
            self.matched = self.matched and kind == BEFORE_VALUE
        end
    end
    self.depth = depth
    if self.kept then
        keep(self, sub(text, keep_from + 1))
    end
end


return _M
