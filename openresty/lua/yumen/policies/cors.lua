--- Tells browsers which pages may call a route, before anybody asks for a key: they send none with
-- the question.
local core = require "yumen.core"

local concat = table.concat
local ipairs = ipairs
local request, response = core.request, core.response
local set_header = response.set_header
local tostring = tostring

local EVERY = "*"
-- Set here or by nobody: what the upstream says of CORS would contradict the route.
local OWN = {
    "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials",
    "Access-Control-Expose-Headers",
}

local _M = {
    name = "cors",
    priority = 8500,
    on_error = "closed",
}


--- What a route's answers say, made once.
local function make(document)
    local cors = document.cors
    local origins = {}
    for _, origin in ipairs(cors.allowOrigins) do
        origins[origin] = true
    end
    local methods = #cors.allowMethods > 0 and cors.allowMethods or document.methods
    cors.made = {
        origins = origins,
        is_same_for_all = origins[EVERY] and not cors.allowCredentials,
        methods = methods and concat(methods, ", "),
        headers = cors.allowHeaders[1] ~= EVERY and concat(cors.allowHeaders, ", ") or nil,
        exposed = #cors.exposeHeaders > 0 and concat(cors.exposeHeaders, ", ") or nil,
        credentials = cors.allowCredentials and "true" or nil,
        max_age = tostring(cors.maxAge),
    }
    return cors.made
end


local function settings_of(ctx)
    local document = ctx.route and ctx.route.document
    local cors = document and document.cors
    return cors and (cors.made or make(document))
end


--- The question before a request: may it be sent?
function _M.access(_, ctx)
    if ctx.method ~= "OPTIONS" then
        return
    end
    local made = settings_of(ctx)
    local method = made and request.get("http_access_control_request_method")
    local origin = method and request.get("http_origin")
    if not origin then
        return
    elseif not made.origins[origin] and not made.origins[EVERY] then
        return 403, "origin_not_allowed"
    end
    local asked = request.get("http_access_control_request_headers")
    set_header("Access-Control-Allow-Methods", made.methods or method)
    set_header("Access-Control-Allow-Headers", made.headers or asked)
    set_header("Access-Control-Max-Age", made.max_age)
    if not made.headers then
        response.add_vary("Access-Control-Request-Headers")
    end
    return response.answer(ctx, 204, "")
end


--- Every answer, also a refusal: a page may read why.
function _M.header_filter(_, ctx)
    local made = settings_of(ctx)
    if not made then
        return
    end
    for i = 1, #OWN do
        set_header(OWN[i], nil)
    end
    if not made.is_same_for_all then
        response.add_vary("Origin")
    end
    local origin = request.get("http_origin")
    if not origin or not (made.origins[origin] or made.origins[EVERY]) then
        return
    end
    set_header("Access-Control-Allow-Origin", made.is_same_for_all and EVERY or origin)
    set_header("Access-Control-Allow-Credentials", made.credentials)
    set_header("Access-Control-Expose-Headers", made.exposed)
end


return _M
