local key_scope = require "yumen.key_scope"
local request = require "yumen.core.request"


local function refused(document, ctx)
    local scope = key_scope.of(document)
    local _, code = key_scope.check(scope, ctx or {
        method = "POST", route = { endpoint = "/v1/embeddings" },
    })
    return code
end


describe("the scope of a key", function()
    local get = request.get
    local client

    before_each(function()
        request.get = function(name) return name == "remote_addr" and client or nil end
    end)
    after_each(function()
        request.get = get
    end)

    it("is nothing for a key without limits", function()
        assert.is_nil(key_scope.of { tenant = "t", digest = "d" })
        assert.is_nil((key_scope.check_model(nil, {}, "m")))
    end)

    it("takes the client's address in any spelling", function()
        local document = { addresses = { "10.1.0.0/16", "2001:db8::/32", "192.0.2.7/32" } }
        for _, address in ipairs {
            "10.1.255.255", "::ffff:10.1.2.3", "2001:db8:ffff::1", "192.0.2.7",
        } do
            client = address
            assert.is_nil(refused(document), address)
        end
        for _, address in ipairs {
            "10.2.0.0", "::ffff:10.2.0.0", "::10.1.2.3", "2001:db9::1", "192.0.2.8", "unix:", "",
        } do
            client = address
            assert.equal("key_address_not_allowed", refused(document), address)
        end
    end)

    it("names the method and the endpoint that are lacking", function()
        local ctx = { method = "POST", route = { endpoint = "/v1/embeddings" } }
        assert.equal("key_method_not_allowed", refused({ methods = { "GET" } }, ctx))
        assert.is_truthy(ctx.detail:find("POST", 1, true))
        assert.equal("key_endpoint_not_allowed", refused({ endpoints = { "/v1/models" } }, ctx))
        assert.is_truthy(ctx.detail:find("/v1/embeddings", 1, true))
        assert.is_nil(refused({ methods = { "POST" }, endpoints = { "/v1/embeddings" } }, ctx))
    end)

    it("names the model that is lacking", function()
        local scope, ctx = key_scope.of { models = { "a" } }, {}
        assert.is_nil((key_scope.check_model(scope, ctx, "a")))
        local status, code = key_scope.check_model(scope, ctx, "b")
        assert.same({ 403, "key_model_not_allowed", "model" }, { status, code, ctx.param })
        assert.is_truthy(ctx.detail:find("'b'", 1, true))
    end)

    it("allows nothing by an empty list", function()
        client = "10.0.0.1"
        assert.equal("key_address_not_allowed", refused { addresses = {} })
        assert.equal("key_method_not_allowed", refused { methods = {} })
        assert.equal("key_endpoint_not_allowed", refused { endpoints = {} })
        assert.equal(403, (key_scope.check_model(key_scope.of { models = {} }, {}, "a")))
    end)
end)
