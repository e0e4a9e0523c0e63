--- Finds the addresses of an upstream's host, as the machine's own /etc/hosts and DNS know them,
-- and the servers of a service (SRV), as DNS does.
--
-- What was found is kept for its TTL. When that has just ended, a timer asks again while requests
-- go on with what was known; a name server that is away does not stop traffic for some minutes.

local dns = require "yumen.core.dns"
local node = require "yumen.core.node"

local max, min = math.max, math.min
local now = ngx.now
local open = io.open
local sub = string.sub
local timer_at = ngx.timer.at

local FOUND_SECONDS = { 1, 300 }        -- bounds of a TTL
local MISSING_SECONDS = 5
local STALE_SECONDS = 300               -- for so long after its TTL an address serves in need
local EARLY_SECONDS = 30                -- for so long no request waits for the new one
local RETRY_SECONDS = 1
local HOSTS_FILE_SECONDS = 5
local ASKING_SECONDS = 10
local TIMEOUT_MS = 1500
local TRIES = 2
local NAME_ERROR = 3

-- Host, or "srv:" and a service -> { addresses, expires, forget, asking_until }
local cache = {}
local SERVICE = "srv:"

local _M = {}


local function lines_of(path)
    local file = open(path, "rb")
    local text = file and file:read("*a") or ""
    if file then
        file:close()
    end
    return text:gmatch("[^\r\n]+")
end


--- The addresses that /etc/hosts gives a name, or nil.
local function hosts_file(host)
    local found = {}
    for line in lines_of(node.hosts_file or "/etc/hosts") do
        local address, names = line:gsub("#.*", ""):match("^%s*(%S+)%s+(.*)$")
        for name in (names or ""):gmatch("%S+") do
            if name:lower() == host then
                found[#found + 1] = address
            end
        end
    end
    if #found == 0 and (host == "localhost" or host:find("%.localhost$")) then
        found[1] = "127.0.0.1"          -- RFC 6761
    end
    return #found > 0 and found or nil
end


--- Name servers, search domains and ndots of /etc/resolv.conf. A server may carry a port.
local function resolv_conf()
    local servers, search, dots = {}, {}, 1
    for line in lines_of(node.resolv_conf or "/etc/resolv.conf") do
        local word, rest = line:match("^%s*(%a+)%s+(.-)%s*$")
        if word == "nameserver" then
            local address, port = rest:match("^([%d.]+):(%d+)$")
            servers[#servers + 1] = { address or rest:gsub("%%.*", ""), tonumber(port) or 53 }
        elseif word == "search" or word == "domain" then
            search = {}
            for domain in rest:gmatch("%S+") do
                search[#search + 1] = domain
            end
        elseif word == "options" then
            dots = tonumber(rest:match("ndots:(%d+)")) or dots
        end
    end
    return servers, search, dots
end


local function candidates(host, search, dots)
    local names = {}
    if host:sub(-1) == "." then
        return { host:sub(1, -2) }
    end
    for index, domain in ipairs(search) do
        names[index] = host .. "." .. domain
    end
    local _, count = host:gsub("%.", "")
    table.insert(names, count >= dots and 1 or #names + 1, host)
    return names
end


--- What an SRV record names; a target "." says that there is no such service.
local function server(answer)
    local host = answer.target:lower()
    if host ~= "" and host ~= "." then
        return { host = host, port = answer.port, weight = max(answer.weight, 1),
                 priority = answer.priority }
    end
end


--- Ask for one kind of record.
-- @return  addresses or servers (perhaps none), TTL; or nil, what failed
local function ask(client, name, kind)
    local answers, err = client:query(name, { qtype = kind })
    if not answers then
        return nil, err
    end
    if answers.errcode then
        if answers.errcode == NAME_ERROR then
            return {}, MISSING_SECONDS
        end
        return nil, answers.errstr
    end
    local found, ttl = {}, FOUND_SECONDS[2]
    for _, answer in ipairs(answers) do
        ttl = min(ttl, answer.ttl)
        if answer.type == kind then
            found[#found + 1] = kind == dns.TYPE_SRV and server(answer) or answer.address
        end
    end
    return found, max(ttl, FOUND_SECONDS[1])
end


local ADDRESSES = { dns.TYPE_A, dns.TYPE_AAAA }
local SERVERS = { dns.TYPE_SRV }


--- Ask for kinds of records, in their order, until there are some of one kind.
local function ask_all(host, kinds)
    local servers, search, dots = resolv_conf()
    if #servers == 0 then
        return nil, "/etc/resolv.conf names no server"
    end
    local client, problem = dns:new { nameservers = servers, timeout = TIMEOUT_MS, retrans = TRIES }
    if not client then
        return nil, problem
    end
    for _, name in ipairs(candidates(host, search, dots)) do
        for _, kind in ipairs(kinds) do
            local found, ttl = ask(client, name, kind)
            if not found or #found > 0 then
                return found, ttl
            end
        end
    end
    return {}, MISSING_SECONDS
end


--- IPv4 first: a node with IPv6 addresses in DNS need not have an IPv6 network.
local function look_up(host)
    if sub(host, 1, #SERVICE) == SERVICE then
        return ask_all(sub(host, #SERVICE + 1), SERVERS)
    end
    local found = hosts_file(host)
    if found then
        return found, HOSTS_FILE_SECONDS
    end
    return ask_all(host, ADDRESSES)
end


local function remember(host, addresses, expires, forget)
    cache[host] = { addresses = addresses, expires = expires, forget = forget, asking_until = 0 }
end


--- Ask for a host's addresses and keep what is found.
local function refresh(host)
    local found, ttl = look_up(host)
    local at = now()
    local known = cache[host]
    local in_need = known and #known.addresses > 0 and at < known.forget
    if found and (#found > 0 or not in_need) then
        remember(host, found, at + ttl, at + ttl + STALE_SECONDS)
        return found
    end
    if in_need then
        remember(host, known.addresses, at + RETRY_SECONDS, known.forget)
        return known.addresses
    end
    remember(host, {}, at + RETRY_SECONDS, 0)
    return cache[host].addresses, ttl
end


local function refresh_later(premature, host)
    if not premature then
        refresh(host)
    end
end


--- The addresses of a host name in lower case; an empty list when there are none. May yield.
-- @return  addresses, the same table until they were asked for anew; what failed or nil
function _M.resolve(host)
    local known = cache[host]
    local at = now()
    if known and at < known.expires then
        return known.addresses
    end
    if known and #known.addresses > 0 and at < known.expires + EARLY_SECONDS then
        if at > known.asking_until then
            known.asking_until = at + ASKING_SECONDS
            timer_at(0, refresh_later, host)
        end
        return known.addresses
    end
    return refresh(host)
end


--- The servers {host, port, weight, priority} of a service name. May yield.
-- @return  as `resolve`
function _M.resolve_service(name)
    return _M.resolve(SERVICE .. name)
end


--- Until when (Unix seconds) what `resolve` gives cannot change; the name was asked for before.
function _M.good_until(host)
    local known = cache[host]
    return known and known.expires or 0
end


return _M
