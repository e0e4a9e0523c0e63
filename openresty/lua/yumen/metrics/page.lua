--- Writes metrics in Prometheus' text format, piece by piece. No nginx in here.
--
-- A node may tell some hundred thousand lines, so no string is made for one of them: its parts are
-- gathered, and a piece is made of all at once.
local families = require "yumen.metrics.families"

local concat = table.concat

local PIECE = 3200                  -- parts, about 400 lines; then `send` may let others run

local _M = {}
local page_meta = { __index = _M }


--- @param send  function(text): takes a piece
function _M.new(send)
    return setmetatable({ parts = {}, count = 0, send = send, name = nil }, page_meta)
end


--- Begin a metric; the values that follow are its own.
-- @param name  one of `families`
function _M:begin(name)
    local family = families[name]
    self.name = name
    local count = self.count + 1
    self.parts[count] = "# HELP " .. name .. " " .. family[3] .. "\n# TYPE " .. name .. " "
        .. family[1] .. "\n"
    self.count = count
end


--- A value of the metric. May yield.
-- @param labels  such as `service="other"`, or nil
-- @param more    further labels, such as `,outcome="ok"`, or nil
-- @param suffix  of the name, such as "_sum", or nil
function _M:value(number, labels, more, suffix)
    local parts, at = self.parts, self.count
    parts[at + 1], parts[at + 2], parts[at + 3] = self.name, suffix or "", labels and "{" or ""
    parts[at + 4], parts[at + 5] = labels or "", more or ""
    parts[at + 6], parts[at + 7], parts[at + 8] = labels and "} " or " ", number, "\n"
    self.count = at + 8
    if at > PIECE then
        self:finish()
    end
end


--- Begin a metric that has one value.
function _M:single(name, number)
    self:begin(name)
    self:value(number)
end


--- Send what was not sent yet.
function _M:finish()
    local count = self.count
    if count > 0 then
        self.count = 0
        self.send(concat(self.parts, "", 1, count))
    end
end


return _M
