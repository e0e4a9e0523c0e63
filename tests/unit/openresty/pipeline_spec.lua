local loaded = package.loaded["yumen.config"]
package.loaded["yumen.config"] = {
    get = function(section, id)
        return section == "limits" and id == "t1" and { most = 5 } or nil
    end,
}
package.loaded["yumen.pipeline"] = nil
local pipeline = require "yumen.pipeline"
package.loaded["yumen.config"], package.loaded["yumen.pipeline"] = loaded, nil


local function policy(name, priority, run, fields)
    local made = { name = name, priority = priority, on_error = "closed", access = run }
    for field, value in pairs(fields or {}) do
        made[field] = value
    end
    return made
end


describe("pipeline", function()
    local order

    local function note(name)
        return function() order[#order + 1] = name end
    end

    before_each(function() order = {} end)

    it("runs the highest priority first, whatever the order of loading", function()
        pipeline.load {
            policy("a", 1, note "a"), policy("c", 3, note "c"), policy("b", 2, note "b"),
        }
        assert.is_nil(pipeline.run("access", {}))
        assert.same({ "c", "b", "a" }, order)
    end)

    it("stops at the first that refuses, and says what it said", function()
        pipeline.load {
            policy("a", 2, function() return 403, "no" end), policy("b", 1, note "b"),
        }
        local status, code = pipeline.run("access", {})
        assert.same({ 403, "no" }, { status, code })
        assert.same({}, order)
    end)

    it("runs nothing in a phase that nobody has", function()
        pipeline.load { policy("a", 1, note "a") }
        assert.is_nil(pipeline.run("log", {}))
        assert.same({}, order)
    end)

    it("answers 503 when one that must not fail breaks", function()
        pipeline.load { policy("a", 2, function() error("boom") end), policy("b", 1, note "b") }
        local status, code = pipeline.run("access", {})
        assert.same({ 503, "policy_failed" }, { status, code })
        assert.same({}, order)
    end)

    it("passes over one that may fail, once, and goes on behind it", function()
        pipeline.load {
            policy("a", 4, note "a"),
            policy("b", 3, function() note("b")(); error("boom") end, { on_error = "open" }),
            policy("c", 2, note "c"),
            policy("d", 1, function() return 429, "much" end),
        }
        local status, code = pipeline.run("access", {})
        assert.same({ 429, "much" }, { status, code })
        assert.same({ "a", "b", "c" }, order)
    end)

    it("obeys one that must not fail behind one that may", function()
        pipeline.load {
            policy("a", 2, function() error("boom") end, { on_error = "open" }),
            policy("b", 1, function() error("bang") end),
        }
        assert.equal(503, (pipeline.run("access", {})))
    end)

    it("gives a policy the tenant's document of its section, and skips it without one", function()
        local seen
        pipeline.load {
            policy("limit", 2, function(conf) seen = conf end, { section = "limits" }),
            policy("tenant", 1, function(conf) order[1] = conf end, { section = "tenants" }),
        }
        local tenant = { id = "t1" }
        pipeline.run("access", { tenant = tenant })
        assert.same({ most = 5 }, seen)
        assert.equal(tenant, order[1])
        seen = nil
        pipeline.run("access", { tenant = { id = "t2" } })
        assert.is_nil(seen)
    end)

    it("refuses equal priorities, and a policy that does not say what its failure means", function()
        assert.has_error(function()
            pipeline.load { policy("a", 1, note "a"), policy("b", 1, note "b") }
        end)
        assert.has_error(function()
            pipeline.load { policy("a", 1, note "a", { on_error = "maybe" }) }
        end)
    end)
end)
