local cjson = require "cjson"
local dialect = require "yumen.dialect"

describe("dialect", function()
    it("writes OpenAI's form with all four fields", function()
        local body, content_type = dialect.error({ dialect = "openai" }, 404, "model_not_found")
        local error = cjson.decode(body).error
        assert.are.equal("application/json", content_type)
        assert.are.equal("model_not_found", error.code)
        assert.are.equal(cjson.null, error.param)
        assert.is_string(error.type)
        assert.is_truthy(error.message:find("GET /v1/models", 1, true))
    end)

    it("names the field and says the better message", function()
        local ctx = { dialect = "openai", param = 'a"b', detail = "Say “x”\n\\." }
        local error = cjson.decode((dialect.error(ctx, 400, "invalid_body"))).error
        assert.are.same({ 'a"b', "Say “x”\n\\." }, { error.param, error.message })
    end)

    it("writes problem+json elsewhere", function()
        local ctx = { dialect = "problem", request_id = "r-1" }
        local body, content_type = dialect.error(ctx, 404, "host_not_found")
        local problem = cjson.decode(body)
        assert.are.equal("application/problem+json", content_type)
        assert.are.same({ "about:blank", "Not Found", 404, "host_not_found", "r-1" },
            { problem.type, problem.title, problem.status, problem.code, problem.requestId })
    end)

    it("has a message for a code that it does not know", function()
        for _, form in ipairs { "openai", "problem" } do
            assert.is_truthy(dialect.error({ dialect = form }, 503, "new_code"):find("new_code"))
        end
    end)

    it("gives every code a sentence that ends", function()
        for code, known in pairs(dialect.CODES) do
            assert.is_truthy(known[3]:find("%.$"), code)
            assert.is_truthy(known[1] >= 400 and known[1] < 600, code)
        end
    end)
end)
