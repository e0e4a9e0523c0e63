--- Watches a JSON answer go by, in chunks of any size, and keeps only its top-level `usage` object.
--
-- It also tells whether the whole object was seen: an answer that was cut off can look like a
-- success in every other way.

local ffi = require "ffi"
local members = require "yumen.ai.members"

local C = ffi.C
local cast = ffi.cast
local sub = string.sub
local tonumber = tonumber
local band = require("bit").band
local concat = table.concat

local QUOTE, BACKSLASH, COMMA, COLON = 34, 92, 44, 58
local OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET = 123, 125, 91, 93

-- Commas and colons tell keys from values, which matters at the top level only.
local TOP, DEEP = '"{}[],:', '"{}[]'
local MAX_KEY_BYTES = 64
local MAX_USAGE_BYTES = 16384

local bytes = ffi.typeof("const uint8_t *")

local _M = {}


--- A fresh watcher. `whole` becomes true when the object closed, `usage` is its raw text.
function _M.new()
    return {
        depth = 0,
        whole = false,
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


local function begin_usage(self)
    self.matched = false
    self.kept, self.kept_bytes = {}, 0
end


local function end_usage(self)
    self.usage = self.kept_bytes <= MAX_USAGE_BYTES and concat(self.kept) or nil
    self.kept = nil
end


local function end_key(self, text)
    local key = (self.key or "") .. text
    self.key = nil
    self.at_key = false
    self.matched = members.unescape(key) == "usage"
end


--- Follow a string from *at*.
-- @return  offset after its closing quote, or *length* when it goes on in the next chunk
local function follow_string(self, text, p, at, length)
    local from = at
    if self.escaped then
        self.escaped = false
        at = at + 1
    end
    local quote
    local search = at
    while search < length do
        local found = cast(bytes, C.memchr(p + search, QUOTE, length - search))
        if found == nil then
            break
        end
        quote = tonumber(found - p)
        local before = quote - 1
        while before >= at and p[before] == BACKSLASH do
            before = before - 1
        end
        if band(quote - before, 1) == 1 then
            self.in_string = false
            if self.at_key then
                end_key(self, sub(text, from + 1, quote))
            end
            return quote + 1
        end
        search = quote + 1
    end
    local before = length - 1
    while before >= at and p[before] == BACKSLASH do
        before = before - 1
    end
    self.escaped = band(length - 1 - before, 1) == 1
    if self.at_key and #(self.key or "") < MAX_KEY_BYTES then
        self.key = (self.key or "") .. sub(text, from + 1)
    end
    return length
end


local function open(self, byte)
    self.depth = self.depth + 1
    if self.depth == 1 then
        self.at_key = byte == OPEN_BRACE
        return self.at_key
    end
    return true
end


--- Look at the next chunk of the answer.
function _M.feed(self, text)
    local p, length = cast(bytes, text), #text
    local at, keep_from = 0, 0
    while at < length and not self.whole and not self.broken do
        if self.in_string then
            at = follow_string(self, text, p, at, length)
        else
            local structure = self.depth == 1 and TOP or DEEP
            at = at + tonumber(C.strcspn(cast("const char *", p) + at, structure))
            if at >= length then
                break
            end
            local byte = p[at]
            if byte == QUOTE then
                self.in_string = true
            elseif byte == OPEN_BRACE or byte == OPEN_BRACKET then
                if self.depth == 1 and self.matched and byte == OPEN_BRACE then
                    begin_usage(self)
                    keep_from = at
                end
                self.broken = not open(self, byte)
            elseif byte == CLOSE_BRACE or byte == CLOSE_BRACKET then
                self.depth = self.depth - 1
                if self.depth == 1 and self.kept then
                    keep(self, sub(text, keep_from + 1, at + 1))
                    end_usage(self)
                end
                self.whole = self.depth == 0
                self.broken = self.depth < 0
            elseif byte == COMMA then
                self.at_key, self.matched = true, false
            elseif byte == COLON then
                self.at_key = false
            end
            at = at + 1
        end
    end
    if self.kept then
        keep(self, sub(text, keep_from + 1))
    end
end


return _M
