local documents, standing, asked, headers = {}, {}, 0, {}
local STAND_INS = {
    ["yumen.config"] = {
        generation = 1,
        get = function(section, id)
            asked = asked + 1
            local found = documents[section .. "/" .. id]
            if found then
                found.id = id
            end
            return found
        end,
    },
    ["yumen.signals"] = {
        get = function(kind, id) return kind == "degradation" and standing[id] or nil end,
    },
    ["yumen.core.clock"] = { monotonic_millis = function() return 1000 end },
    ["yumen.core.request"] = {
        get = function() return headers.accept end,
        wants_web_socket = function() return headers.upgrade or false end,
    },
    ["yumen.core.response"] = {
        set_header = function(name, value) headers[name] = value end,
    },
    ["yumen.ai.models"] = {
        plan_of = function(tenant, id)
            local name = tenant.names[id]
            return name and { name = name }, name
        end,
    },
}
local NAMES = { "yumen.degradation", "yumen.upstream.document" }

local loaded = {}
for name, stand_in in pairs(STAND_INS) do
    loaded[name], package.loaded[name] = package.loaded[name] or false, stand_in
end
for _, name in ipairs(NAMES) do
    package.loaded[name] = nil
end
local degradation = require "yumen.degradation"
for name, former in pairs(loaded) do
    package.loaded[name] = former or nil
end
for _, name in ipairs(NAMES) do
    package.loaded[name] = nil
end


local function rule(id, action, parameters, tenant)
    standing[id] = { ends_at = 1000 }
    return { id = id, name = id, action = action, parameters = parameters, tenant = tenant }
end


--- Choose for a call of model `m`; returns the rule's name, what is called instead.
local function choose(rules, fields, is_stream)
    documents["degradations/model:m"] = { rules = rules }
    local ctx = {
        tenant = { id = "t1", names = { spare = "spare" } }, credential = {}, path = "/v1/x",
        route = { endpoint = "/v1/x" },
    }
    for name, value in pairs(fields or {}) do
        ctx[name] = value
    end
    local other = degradation.choose(ctx, { id = "m" }, "model:m", is_stream)
    return ctx.degraded and ctx.degraded.name, other
end


--- The same for a call on a tenant's own route to upstream `u`.
local function choose_plain(rules)
    return choose(rules, { route = { document = {} }, upstream = { id = "u" } })
end


describe("degradation", function()
    before_each(function()
        documents, standing, asked, headers = {}, {}, 0, {}
    end)

    it("costs a service without rules one look-up a revision", function()
        local document, ctx = { id = "m" }, { tenant = { id = "t1" } }
        for _ = 1, 3 do
            assert.is_nil(degradation.choose(ctx, document, "model:m"))
        end
        assert.equal(1, asked)
        STAND_INS["yumen.config"].generation = 2
        assert.is_nil(degradation.choose(ctx, document, "model:m"))
        assert.equal(2, asked)
    end)

    it("takes the first rule that is in force", function()
        local over, first, second = rule("over", "timeout-increase", {}),
            rule("first", "timeout-increase", {}), rule("second", "timeout-increase", {})
        standing.over = nil
        assert.equal("first", (choose { over, first, second }))
        standing = {}
        assert.is_nil((choose { over, first, second }))
        assert.is_nil((choose {}))
    end)

    it("leaves other tenants alone", function()
        assert.is_nil((choose { rule("theirs", "timeout-increase", {}, "t2") }))
        assert.equal("ours", (choose { rule("theirs", "timeout-increase", {}, "t2"),
                                       rule("ours", "timeout-increase", {}, "t1") }))
    end)

    it("switches off streams", function()
        local rules = { rule("no streams", "feature-disable", { feature = "stream" }) }
        assert.equal("no streams", (choose(rules, nil, true)))
        assert.is_nil((choose(rules, nil, false)))
        assert.is_nil((choose_plain(rules)))
        headers.accept = "text/html, text/event-stream"
        assert.equal("no streams", (choose_plain(rules)))
        assert.is_nil((choose(rules, nil, false)))
        headers = { upgrade = true }
        assert.equal("no streams", (choose_plain(rules)))
    end)

    it("switches off a path and what is below it", function()
        for endpoint, paths in pairs {
            ["/v1/x"] = { ["/v1/x"] = true, ["/v1/x/y"] = true, ["/v1/xy"] = false },
            ["/v1/"] = { ["/v1/"] = true, ["/v1/x"] = true, ["/v1"] = false, ["/a/v1/x"] = false },
        } do
            local rules = { rule("off", "feature-disable", { endpoint = endpoint }) }
            for path, is_off in pairs(paths) do
                assert.equal(is_off and "off" or nil, (choose(rules, { path = path })), path)
            end
        end
    end)

    it("calls another model that tenant and key may call", function()
        local rules = { rule("other", "fallback", { model = "spare" }) }
        local name, other = choose(rules)
        assert.same({ "other", { name = "spare" } }, { name, other })
        assert.is_nil((choose { rule("other", "fallback", { model = "unknown" }) }))
        assert.is_nil((choose(rules, { credential = { scope = { models = { m = true } } } })))
        assert.equal("other",
                     (choose(rules, { credential = { scope = { models = { spare = true } } } })))
        assert.equal("other", (choose(rules, { credential = { scope = {} } })))
        assert.is_nil((choose_plain(rules)))
    end)

    it("calls another upstream that the tenant may use", function()
        local rules = { rule("other", "fallback", { upstream = "spare" }) }
        assert.is_nil((choose_plain(rules)))
        documents["upstreams/spare"] = {}
        local name, other = choose_plain(rules)
        assert.same({ "other", "upstream:spare" }, { name, other.service_key })
        documents["upstreams/spare"] = { tenant = "t1" }
        assert.equal("other", (choose_plain(rules)))
        documents["upstreams/spare"] = { tenant = "t2" }
        assert.is_nil((choose_plain(rules)))
        assert.is_nil((choose(rules)))
        documents["upstreams/u"] = {}
        assert.is_nil((choose_plain { rule("itself", "fallback", { upstream = "u" }) }))
    end)

    it("answers by itself", function()
        local rules = { rule("answer", "fallback", { answer = { status = 200 } }) }
        assert.same({ "answer" }, { choose(rules) })
        assert.same({ "answer" }, { choose_plain(rules) })
    end)

    it("gives more time, an hour at most, and none to connect", function()
        local ctx = {
            degraded = rule("longer", "timeout-increase", { factor = 3 }),
            ends_by = 500, route = { document = { timeouts = { total = 20 } } },
        }
        local timeouts = { connect = 1, send = 10, read = 1800, between_bytes = 5 }
        degradation.give_time(ctx, timeouts)
        assert.same({ connect = 1, send = 30, read = 3600, between_bytes = 15 }, ctx.timeouts)
        assert.equal(540, ctx.ends_by)
        local kept = ctx.timeouts
        degradation.give_time(ctx, timeouts)
        assert.equal(kept, ctx.timeouts)
        degradation.give_time(ctx, { connect = 1, send = 10, read = 7200 })
        assert.equal(7200, ctx.timeouts.read)
    end)

    it("says when what is off may be back", function()
        local ctx = { degraded = rule("off", "feature-disable", {}) }
        standing.off.ends_at = 3500
        assert.same({ 503, "feature_disabled" }, { degradation.refuse(ctx) })
        assert.equal(3, headers["Retry-After"])
        standing.off = nil
        degradation.refuse(ctx)
        assert.equal(1, headers["Retry-After"])
    end)
end)
