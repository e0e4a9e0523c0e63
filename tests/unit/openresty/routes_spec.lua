local routes = require "yumen.routes"


local function route(name, kind, value, fields)
    local made = {
        id = name, name = name, domains = {}, headers = {}, authentication = { "key" },
        path = { kind = kind, value = value },
    }
    for field, given in pairs(fields or {}) do
        made[field] = given
    end
    return made
end


local function ask(list, path, method, domain)
    local ctx = { path = path, method = method or "GET", domain = domain or "acme.test" }
    local document = { routes = list }
    local found = routes.find(document, ctx)
    return found and found.endpoint or nil, not found and routes.methods(document, ctx) or nil
end


describe("routes", function()
    it("finds exact paths whole and prefixes up to a slash or their end", function()
        local list = {
            route("exact", "exact", "/a/b"), route("deep", "prefix", "/a/b"),
            route("slash", "prefix", "/s/"), route("api", "prefix", "/api"),
        }
        local expected = {
            ["/a/b"] = "exact", ["/a/b/"] = "deep", ["/a/b/c"] = "deep",
            ["/s/"] = "slash", ["/s/x"] = "slash", ["/api"] = "api", ["/api/x"] = "api",
        }
        for path, name in pairs(expected) do
            assert.equal(name, (ask(list, path)), path)
        end
        for _, path in ipairs { "/a", "/a/bc", "/s", "/apix", "/xapi", "", "/A/b" } do
            assert.is_nil((ask(list, path)), path)
        end
    end)

    it("takes the first of the document's order", function()
        local list = { route("first", "prefix", "/"), route("second", "prefix", "/a") }
        assert.equal("first", (ask(list, "/a/x")))
        list = { route("second", "prefix", "/a"), route("first", "prefix", "/") }
        assert.equal("second", (ask(list, "/a/x")))
        assert.equal("first", (ask(list, "/b")))
    end)

    it("goes on to the next when a method or a host does not fit", function()
        local list = {
            route("read", "exact", "/x", { methods = { "GET" } }),
            route("write", "exact", "/x", { methods = { "POST" } }),
            route("other", "prefix", "/x", { domains = { "other.test" } }),
        }
        assert.equal("read", (ask(list, "/x")))
        assert.equal("read", (ask(list, "/x", "HEAD")))
        assert.equal("write", (ask(list, "/x", "POST")))
        assert.equal("other", (ask(list, "/x", "PUT", "other.test")))
        assert.equal("other", (ask(list, "/x/y", "GET", "other.test")))
    end)

    it("says which methods a path takes, and nothing of routes of another host", function()
        local list = {
            route("read", "exact", "/x", { methods = { "GET" } }),
            route("write", "prefix", "/x", { methods = { "POST", "PUT" } }),
            route("other", "prefix", "/x", { methods = { "DELETE" }, domains = { "other.test" } }),
        }
        local found, allow = ask(list, "/x", "DELETE")
        assert.is_nil(found)
        assert.equal("GET, HEAD, POST, PUT", allow)
        found, allow = ask(list, "/y", "DELETE")
        assert.is_nil(found)
        assert.is_nil(allow)
    end)
end)
