--- The settings of this gateway node, rendered beside nginx.conf as node.json.
local json = require "yumen.core.json"

local assert = assert
local open = io.open

local _M = {}


local function read(path)
    local file = assert(open(path, "rb"))
    local text = file:read("*a")
    file:close()
    return text
end


--- Read node.json into this table, and the secrets it names; nginx's master does, before it forks.
-- What it says stands in control_plane/gateway/rendering.py; `pepper` and `seal` are 32 bytes each.
function _M.load(path)
    for name, value in pairs(json.decode(read(path or ngx.config.prefix() .. "node.json"))) do
        _M[name] = value
    end
    for _, name in ipairs { "pepper", "seal" } do
        local hex = read(_M[name .. "_file"]):match("^(%x+)%s*$")
        assert(hex and #hex == 64, _M[name .. "_file"] .. " must hold 64 hexadecimal characters")
        _M[name] = hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
    end
end


return _M
