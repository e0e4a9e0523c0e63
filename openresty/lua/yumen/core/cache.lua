--- A bounded table of what was used lately: two generations of at most `size` entries each.
--
-- A look-up is one table access; an LRU list costs ten times that. When the young generation is
-- full it becomes the old one, and what is used again is carried over.
local setmetatable = setmetatable

local _M = {}
local methods = { __index = _M }


--- A cache that holds at least the `size` entries used last.
function _M.new(size)
    return setmetatable({ size = size, count = 0, young = {}, old = {} }, methods)
end


--- Keep a value; it must not be nil.
function _M.set(self, key, value)
    if self.young[key] == nil then
        if self.count >= self.size then
            self.old, self.young, self.count = self.young, {}, 0
        end
        self.count = self.count + 1
    end
    self.young[key] = value
end


--- The value kept for a key, or nil.
function _M.get(self, key)
    local value = self.young[key]
    if value == nil then
        value = self.old[key]
        if value ~= nil then
            _M.set(self, key, value)
        end
    end
    return value
end


--- Forget one key.
function _M.delete(self, key)
    if self.young[key] ~= nil then
        self.young[key] = nil
        self.count = self.count - 1
    end
    self.old[key] = nil
end


--- Forget everything.
function _M.flush(self)
    self.young, self.old, self.count = {}, {}, 0
end


return _M
