--- Watches a stream of server-sent events go by: counts them, sees its end, captures usage.
--
-- When the client did not ask for the usage chunk, it is taken out again; only then is an event
-- held back until its end was seen, and only that event.

local ffi = require "ffi"
local members = require "yumen.ai.members"

local C = ffi.C
local cast = ffi.cast
local concat = table.concat
local find, gmatch, sub = string.find, string.gmatch, string.sub
local tonumber = tonumber

ffi.cdef [[
void *memmem(const void *hay, size_t hay_length, const void *needle, size_t needle_length);
]]

local LINE_FEED, CARRIAGE_RETURN, SPACE, OPEN_BRACKET = 10, 13, 32, 91
local MAX_EVENT_BYTES = 1048576

local bytes = ffi.typeof("const uint8_t *")
local view = members.new_view()

local _M = {}


--- A fresh watcher.
-- @param strip  take the chunk that holds only usage out of the stream
function _M.new(strip)
    return {
        strip = strip,
        events = 0,
        terminal = false,         -- `data: [DONE]` was seen
        failed = false,           -- an event carried an error
        usage = nil,              -- raw text of the last usage object
        held = {}, held_count = 0, held_bytes = 0,
        too_large = false,        -- the event is over the cap and goes by unread
        line_empty = true,        -- nothing stands on the line yet
        after_return = false,     -- a line feed now belongs to the line before
    }
end


local function contains(p, length, needle)
    return C.memmem(p, length, needle, #needle) ~= nil
end


--- The member *name* of the event's object that was scanned last: its raw text and kind, or nil.
local function member(text, name)
    local index = members.find(view, name)
    if index then
        return sub(text, view.from[index] + 1, view.to[index]), view.kinds[index]
    end
end


--- Read the JSON of one event exactly.
-- @return  true when it holds usage and no choice
local function read_object(self, data)
    if find(data, "\0", 1, true) or not members.scan(view, data) then
        return false
    end
    local _, kind = member(data, "error")
    if kind == members.OBJECT or kind == members.STRING then
        self.failed = true
    end
    local usage, choices
    usage, kind = member(data, "usage")
    if kind ~= members.OBJECT then
        return false
    end
    self.usage = usage
    choices, kind = member(data, "choices")
    return kind == members.ARRAY and find(choices, "^%[%s*%]$") ~= nil
end


--- The data of an event that is not one line `data: …`.
local function data_of(event)
    local lines = {}
    for line in gmatch(event, "[^\r\n]+") do
        lines[#lines + 1] = line:match("^data: ?(.*)$")
    end
    return #lines > 0 and concat(lines, "\n") or nil
end


--- Take note of the event in bytes *from* to *to* of *text*.
-- @return  true when it is to be taken out
local function read_event(self, text, from, to)
    local p, length = cast(bytes, text) + from, to - from
    -- Nearly every event is one line of data with neither usage nor error: nothing of it is copied.
    local notable = contains(p, length, '"usage"') or contains(p, length, '"error"')
    if not notable and length > 6 and C.memcmp(p, "data:", 5) == 0
       and p[p[5] == SPACE and 6 or 5] ~= OPEN_BRACKET then
        self.events = self.events + 1
        return false
    end
    local data = data_of(sub(text, from + 1, to))
    if not data then
        return false
    end
    self.events = self.events + 1
    if data == "[DONE]" then
        self.terminal = true
        return false
    end
    return notable and read_object(self, data) and self.strip
end


--- @return  offset after the blank line that ends the event which goes on at *at*; nil: not here
local function event_end(self, p, at, length)
    while at < length do
        if self.after_return and p[at] == LINE_FEED then
            self.after_return = false
            at = at + 1
        else
            local stop = at + tonumber(C.strcspn(cast("const char *", p) + at, "\r\n"))
            if stop >= length then
                self.line_empty = self.line_empty and stop == at
                self.after_return = false
                return nil
            end
            local blank = self.line_empty and stop == at
            local byte = p[stop]                           -- strcspn stops at a NUL, too
            at = stop + 1
            self.line_empty = byte ~= 0
            self.after_return = byte == CARRIAGE_RETURN
            if blank and byte ~= 0 then
                if self.after_return and at < length and p[at] == LINE_FEED then
                    self.after_return = false
                    at = at + 1
                end
                return at
            end
        end
    end
end


local function hold(self, text)
    self.held_count = self.held_count + 1
    self.held[self.held_count] = text
    self.held_bytes = self.held_bytes + #text
end


local function take_held(self)
    if self.held_count == 0 then
        return ""
    end
    local text = concat(self.held, "", 1, self.held_count)
    self.held_count, self.held_bytes = 0, 0
    return text
end


--- The event that began in *held* and ends at *to* of the chunk.
-- @return  true when it is to be taken out
local function close_event(self, held, chunk, from, to)
    if self.too_large then
        self.too_large = false
        self.events = self.events + 1
        return false
    end
    if held == "" then
        return read_event(self, chunk, from, to)
    end
    local event = held .. sub(chunk, from + 1, to)
    return read_event(self, event, 0, #event)
end


--- Keep the beginning of an event that the chunk does not end.
-- @return  the text that is not kept: "", or all of it once it is over the cap
local function hold_rest(self, text)
    if self.too_large then
        return text
    end
    hold(self, text)
    if self.held_bytes <= MAX_EVENT_BYTES then
        return ""
    end
    self.too_large = true
    return take_held(self)
end


--- Look at the next chunk of the stream.
-- @return  what goes on to the client in its stead: the chunk itself unless events are taken out
function _M.feed(self, chunk)
    local p, length = cast(bytes, chunk), #chunk
    local at, from = 0, 0
    local out = ""                                         -- goes before the bytes at *from*
    while true do
        local stop = event_end(self, p, at, length)
        if not stop then
            break
        end
        local held = take_held(self)
        if close_event(self, held, chunk, at, stop) then
            out = out .. sub(chunk, from + 1, at)
            from = stop
        elseif held ~= "" then
            out = held                                     -- it began before this chunk
        end
        at = stop
    end
    local rest = at < length and hold_rest(self, sub(chunk, at + 1)) or nil
    if not self.strip then
        return chunk
    end
    if from == 0 and out == "" and not rest then
        return chunk
    end
    return out .. sub(chunk, from + 1, at) .. (rest or "")
end


--- The stream is ended by us, with this chunk.
-- @return  what of the chunk belongs to the event whose beginning the client has
function _M.cut(self, chunk)
    local is_between = self.held_count == 0 and not self.too_large
    if is_between or (self.strip and not self.too_large) then
        return ""
    end
    local stop = event_end(self, cast(bytes, chunk), 0, #chunk)
    if not stop then
        return chunk .. "\n\n"
    end
    close_event(self, take_held(self), chunk, 0, stop)
    return sub(chunk, 1, stop)
end


--- The stream ended in order: what is still held is its last event, and goes to the client.
function _M.finish(self)
    local held = take_held(self)
    if held == "" or read_event(self, held, 0, #held) or not self.strip then
        return ""
    end
    return held
end


return _M
