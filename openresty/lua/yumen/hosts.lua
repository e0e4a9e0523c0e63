--- Whose a host name is: by its own document, else by that of the wildcard it falls under.
local config = require "yumen.config"

local find = string.find
local sub = string.sub

local _M = {}


--- The document of section hosts for a name that a request was sent to, or nil.
function _M.find(name)
    local host = config.get("hosts", name)
    if host then
        return host
    end
    local dot = find(name, ".", 1, true)
    return dot and dot > 1 and config.get("hosts", "*" .. sub(name, dot))
end


return _M
