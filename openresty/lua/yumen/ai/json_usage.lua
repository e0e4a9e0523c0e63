--- Watches a JSON answer go by, in chunks of any size, and keeps only its top-level `usage` object.
--
-- It also tells whether the whole object was seen: an answer that was cut off can look like a
-- success in every other way.

local ffi = require "ffi"
local members = require "yumen.ai.members"

local C = ffi.C
local cast = ffi.cast
local concat = table.concat
local find, sub = string.find, string.sub
local is_escaped = members.is_escaped
local tonumber = tonumber

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


local function begin_usage(self)
    self.kept, self.kept_bytes = {}, 0
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
        return text == "usage" or find(text, "\\", 1, true) and members.unescape(text) == "usage"
    end
    self.key = nil
    return members.unescape(key .. text) == "usage"
end


--- Look at the next chunk of the answer.
function _M.feed(self, text)
    local p, length = cast(bytes, text), #text
    if length == 0 then
        return
    end
    local at, keep_from = 0, 0
    local depth, in_string = self.depth, self.in_string
    local from, first = 0, 0         -- of the string that `at` is in, and of what may be an escape
    if self.escaped then
        at, first = 1, 1
        self.escaped = false
    end
    while at < length do
        if in_string then
            local found = cast(bytes, C.memchr(p + at, QUOTE, length - at))
            if found == nil then
                break
            end
            local quote = tonumber(found - p)
            at = quote + 1
            if quote == first or p[quote - 1] ~= BACKSLASH or not is_escaped(p, first, quote) then
                in_string = false
                if self.at_key then
                    self.at_key = false
                    self.matched = is_usage(self, sub(text, from + 1, quote))
                end
            end
        else
            local set = depth == 1 and TOP or DEEP
            at = at + tonumber(C.strcspn(cast("const char *", p) + at, set))
            if at >= length then
                break
            end
            local byte = p[at]
            at = at + 1
            if byte == QUOTE then
                in_string, from, first = true, at, at
            elseif byte == OPEN_BRACE or byte == OPEN_BRACKET then
                depth = depth + 1
                if depth == 1 then
                    self.broken = self.whole or byte ~= OPEN_BRACE
                    self.at_key = true
                elseif depth == 2 and self.matched and byte == OPEN_BRACE then
                    begin_usage(self)
                    keep_from = at - 1
                end
            elseif byte == CLOSE_BRACE or byte == CLOSE_BRACKET then
                depth = depth - 1
                if depth == 1 and self.kept then
                    end_usage(self, sub(text, keep_from + 1, at))
                elseif depth == 0 then
                    self.whole = not self.broken
                end
            elseif byte == COMMA then
                self.at_key, self.matched = true, false
            elseif byte == COLON then
                self.at_key = false
            end
        end
    end
    self.depth, self.in_string = depth, in_string
    if in_string then
        self.escaped = length > first and is_escaped(p, first, length)
        if self.at_key then
            begin_key(self, sub(text, from + 1))
        end
    end
    if self.kept then
        keep(self, sub(text, keep_from + 1))
    end
end


return _M
