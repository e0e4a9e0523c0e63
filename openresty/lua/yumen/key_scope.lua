--- What an API key is limited to: addresses, methods, endpoints and models.
--
-- A key without limits has no scope, so that its requests pay for none. What names something is
-- allowed; an empty list allows nothing.
local networks = require "yumen.core.networks"
local request = require "yumen.core.request"

local ipairs = ipairs

local _M = {}


local function set(names)
    if not names then
        return nil
    end
    local found = {}
    for _, name in ipairs(names) do
        found[name] = true
    end
    return found
end


--- Who may GET may ask for the head alone.
local function methods_of(names)
    local methods = set(names)
    if methods then
        methods.HEAD = methods.HEAD or methods.GET
    end
    return methods
end


--- The scope of a credential's document, or nil when it may do everything.
function _M.of(document)
    local addresses = document.addresses
    if not (addresses or document.methods or document.endpoints or document.models) then
        return nil
    end
    return {
        networks = addresses and networks.ranges(addresses),
        methods = methods_of(document.methods),
        endpoints = set(document.endpoints),
        models = set(document.models),
    }
end


--- Whether the client's address is one of the key's.
local function may_come_from(list)
    local bytes = networks.parse(request.get("remote_addr") or "")
    return bytes and networks.within_any(bytes, list)
end


local function tell(ctx, what)
    ctx.detail = "This API key may not " .. what .. "; ask its administrator."
end


--- May the request of this ctx pass? Nothing, or status and code.
function _M.check(scope, ctx)
    if scope.networks and not may_come_from(scope.networks) then
        return 403, "key_address_not_allowed"
    end
    if scope.methods and not scope.methods[ctx.method] then
        tell(ctx, "use the method " .. ctx.method)
        return 403, "key_method_not_allowed"
    end
    local endpoint = ctx.route.endpoint
    if scope.endpoints and not scope.endpoints[endpoint] then
        tell(ctx, "use the endpoint " .. endpoint)
        return 403, "key_endpoint_not_allowed"
    end
end


--- May a model be called, one that the tenant has? Nothing, or status and code.
-- @param scope  nil for a key without limits
function _M.check_model(scope, ctx, name)
    if scope and scope.models and not scope.models[name] then
        tell(ctx, "call the model '" .. name .. "'")
        ctx.param = "model"
        return 403, "key_model_not_allowed"
    end
end


return _M
