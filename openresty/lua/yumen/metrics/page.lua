--- Writes metrics in Prometheus' text format, piece by piece. No nginx in here.
local families = require "yumen.metrics.families"

local concat = table.concat
local format = string.format

local PIECE = 500                   -- lines, between which `send` may let others run

local _M = {}
local page_meta = { __index = _M }


--- @param send  function(text): takes a piece
function _M.new(send)
    return setmetatable({ lines = {}, count = 0, send = send, name = nil }, page_meta)
end


local function put(self, line)
    local count = self.count + 1
    self.lines[count] = line
    self.count = count
    if count == PIECE then
        self:finish()
    end
end


--- Begin a metric; the values that follow are its own.
-- @param name  one of `families`
function _M:begin(name)
    local family = families[name]
    self.name = name
    put(self, "# HELP " .. name .. " " .. family[3] .. "\n# TYPE " .. name .. " " .. family[1]
        .. "\n")
end


--- A value of the metric.
-- @param labels  such as `service="other"`, or nil
-- @param suffix  of the name, such as "_sum", or nil
function _M:value(number, labels, suffix)
    local name = suffix and self.name .. suffix or self.name
    put(self, format(labels and "%s{%s} %.15g\n" or "%s%s %.15g\n", name, labels or "", number))
end


--- Begin a metric that has one value.
function _M:single(name, number)
    self:begin(name)
    self:value(number)
end


--- Send what was not sent yet.
function _M:finish()
    local lines = self.lines
    local text = concat(lines, "", 1, self.count)
    self.count = 0
    if text ~= "" then
        self.send(text)
    end
end


return _M
