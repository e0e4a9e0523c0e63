local loaded = package.loaded["yumen.config"]
local documents = {}
package.loaded["yumen.config"] = {
    get = function(section, id) return section == "routes" and documents[id] or nil end,
}
package.loaded["yumen.router"] = nil
local router = require "yumen.router"
package.loaded["yumen.config"], package.loaded["yumen.router"] = loaded, nil


local function match(method, path)
    local ctx = { method = method, path = path, host = "acme.test", tenant = { id = "t1" } }
    local route, status, code = router.match(ctx)
    return route and route.endpoint or status .. " " .. code, ctx.allow
end


describe("router", function()
    it("knows the paths of the dialect", function()
        assert.equal("/v1/chat/completions", match("POST", "/v1/chat/completions"))
        assert.equal("/v1/models", match("GET", "/v1/models"))
        assert.equal("/v1/models/{id}", match("GET", "/v1/models/gpt-4o"))
        assert.equal("/v1/models/{id}", match("GET", "/v1/models/vendor/name"))
    end)

    it("finds nothing elsewhere", function()
        local paths = {
            "", "/", "/.yumen/error", "/v1", "/v1/", "/v1/models/", "/v1/models//x", "/v2/models",
            "/v1/chat/completions/", "/V1/models", "/.well-known/yumen/",
        }
        for _, path in ipairs(paths) do
            assert.equal("404 route_not_found", match("GET", path), path)
        end
    end)

    it("says which method a path takes", function()
        local answer, allow = match("GET", "/v1/embeddings")
        assert.equal("405 method_not_allowed", answer)
        assert.equal("POST", allow)
    end)

    it("has one path for all, with HEAD", function()
        assert.equal("/.well-known/yumen", match("GET", "/.well-known/yumen"))
        assert.equal("/.well-known/yumen", match("HEAD", "/.well-known/yumen"))
        assert.equal("405 method_not_allowed", match("HEAD", "/v1/models"))
        local answer, allow = match("POST", "/.well-known/yumen")
        assert.same({ "405 method_not_allowed", "GET, HEAD" }, { answer, allow })
    end)

    it("answers in the dialect of the path", function()
        assert.equal("openai", router.dialect("/v1/anything"))
        assert.equal("problem", router.dialect("/v1"))
        assert.equal("problem", router.dialect("/livez"))
        assert.equal("problem", router.dialect(""))
    end)

    it("asks a tenant's own routes in their order, and never for what is the gateway's", function()
        documents.t1 = { routes = { {
            id = "r1", name = "all", domains = {}, headers = {}, authentication = { "key" },
            path = { kind = "prefix", value = "/" },
        } } }
        assert.equal("all", match("PATCH", "/anything"))
        assert.equal("/v1/models", match("GET", "/v1/models"))
        assert.equal("/.well-known/yumen", match("GET", "/.well-known/yumen"))
        for _, path in ipairs { "/v1", "/v1/x", "/.yumen/x" } do
            assert.equal("404 route_not_found", match("GET", path), path)
        end
        documents.t1 = nil
    end)
end)
