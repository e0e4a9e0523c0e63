--- nginx's error log by level. Nobody hands it a key, a body or a query string.
local ngx_log = ngx.log
local levels = { debug = ngx.DEBUG, info = ngx.INFO, warn = ngx.WARN, error = ngx.ERR }

local _M = {}


for name, level in pairs(levels) do
    _M[name] = function(...)
        ngx_log(level, "yumen: ", ...)
    end
end


return _M
