--- The DNS client: OpenResty names it `resty.dns.resolver`, Debian `nginx.dns.resolver`.
local ok, resolver = pcall(require, "resty.dns.resolver")
return ok and resolver or require "nginx.dns.resolver"
