--- Whether a path is one that a setting names, or below it.
local find = string.find
local sub = string.sub

local _M = {}


--- How the paths below one begin: `/v1` is above `/v1/models`, not above `/v10`.
function _M.below(path)
    return sub(path, -1) == "/" and path or path .. "/"
end


--- @param named  the path that the setting names
-- @param below  what `below` says of it
function _M.covers(named, below, path)
    return path == named or find(path, below, 1, true) == 1
end


return _M
