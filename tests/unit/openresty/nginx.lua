--- The names of nginx that the gateway's modules take when they are loaded. None of them does
-- anything: what needs a running nginx is shown under tests/integration.
local absent = setmetatable({}, {
    __index = function(self) return self end,
    __call = function() end,
})

_G.ngx = setmetatable({
    config = { subsystem = "http", nginx_configure = function() return "" end },
    -- PCRE is nginx's; the specs use patterns that are Lua patterns as well.
    re = { find = function(text, pattern) return text:find(pattern) end },
    now = os.time,
    time = os.time,
    worker = setmetatable({ pid = function() return 7 end }, { __index = absent }),
}, { __index = absent })

for _, name in ipairs { "resty.core.base", "ngx.balancer", "ngx.semaphore" } do
    package.preload[name] = function() return absent end
end
package.preload["table.new"] = function()
    return function() return {} end
end
