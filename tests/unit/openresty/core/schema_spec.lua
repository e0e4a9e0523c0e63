local json = require "yumen.core.json"
local schema = require "yumen.core.schema"


local function reason(described, text)
    return schema.compile(described)(json.decode_with_nulls(text))
end


describe("schema", function()
    it("knows the types of JSON", function()
        local cases = {
            { "integer", "1", "1.5" }, { "number", "1.5", '"1"' }, { "string", '"x"', "1" },
            { "boolean", "true", "0" }, { "null", "null", "false" },
            { "object", '{"a":1}', "[1]" }, { "array", "[1]", '{"a":1}' },
        }
        for _, case in ipairs(cases) do
            assert.is_nil(reason({ type = case[1] }, case[2]), case[1])
            assert.equal("must be " .. case[1], reason({ type = case[1] }, case[3]))
        end
        assert.is_nil(reason({ type = { "integer", "null" } }, "null"))
        assert.is_nil(reason({ type = "array" }, "[]"))
        assert.is_nil(reason({ type = "object" }, "{}"))
    end)

    it("lets null be one of a list only where the type does", function()
        assert.is_nil(reason({ type = { "string", "null" }, enum = { "a" } }, "null"))
        assert.equal("must be string", reason({ type = "string", enum = { "a" } }, "null"))
        assert.equal("must be one of a", reason({ type = "string", enum = { "a" } }, '"b"'))
    end)

    it("says which field is wrong", function()
        local described = {
            type = "object", required = { "a" },
            properties = { a = { type = "object", properties = { b = { minimum = 3 } } } },
        }
        assert.equal("a is missing", reason(described, "{}"))
        assert.equal("a: b: is less than 3", reason(described, '{"a":{"b":2}}'))
        assert.is_nil(reason(described, '{"a":{"b":3},"unknown":[]}'))
    end)

    it("checks what is beside the known properties", function()
        local described = { properties = { a = {} }, additionalProperties = { type = "string" } }
        assert.is_nil(reason(described, '{"a":1,"b":"x"}'))
        assert.equal("b: must be string", reason(described, '{"a":1,"b":1}'))
        described.additionalProperties = false
        assert.equal("b: is unknown", reason(described, '{"b":1}'))
        described.additionalProperties = true
        assert.is_nil(reason(described, '{"b":1}'))
    end)

    it("checks lists, choices and bounds", function()
        assert.equal("2: must be string", reason({ items = { type = "string" } }, '["a",1]'))
        assert.equal("has too few items", reason({ minItems = 1 }, "[]"))
        assert.equal("has too many items", reason({ maxItems = 1 }, "[1,2]"))
        assert.is_nil(reason({ minItems = 1, maxItems = 1 }, "[1]"))
        assert.equal("must be one of a, b", reason({ enum = { "a", "b" } }, '"c"'))
        assert.equal("is more than 3", reason({ maximum = 3 }, "4"))
        assert.equal("is too short", reason({ minLength = 2 }, '"a"'))
        assert.equal("does not match ^a+$", reason({ pattern = "^a+$" }, '"ab"'))
    end)

    it("counts characters, not bytes", function()
        assert.is_nil(reason({ maxLength = 2 }, '"玉门"'))
        assert.equal("is too long", reason({ maxLength = 1 }, '"玉门"'))
    end)

    it("refuses a keyword that it does not check", function()
        assert.has_error(function() schema.compile { oneOf = {} } end,
            "the contract uses JSON Schema's oneOf, which is not checked here")
    end)

    it("compiles the whole contract", function()
        local file = assert(io.open("openresty/contract/documents.v1.json", "rb"))
        local contract = json.decode(file:read("*a"))
        file:close()
        local hosts = schema.compile(contract.sections.hosts)
        assert.equal("tenant is missing", hosts({}))
        for _, described in pairs(contract.sections) do
            schema.compile(described)
        end
    end)
end)
