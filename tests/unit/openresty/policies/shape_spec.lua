local PHASES = {
    accept = true, access = true, balancer = true, header_filter = true, body_filter = true,
    log = true,
}
local FIELDS = { name = "string", priority = "number", on_error = "string", section = "string" }


local function sources()
    local listing = io.popen("ls openresty/lua/yumen/policies")
    local names = {}
    for file in listing:lines() do
        names[#names + 1] = file:match("^([%l_]+)%.lua$")
    end
    listing:close()
    return names
end


describe("policies", function()
    it("all have the same face", function()
        for _, name in ipairs(sources()) do
            local policy = require("yumen.policies." .. name)
            assert.equal(name, policy.name)
            assert.is_true(policy.on_error == "open" or policy.on_error == "closed", name)
            local phases = 0
            for field, value in pairs(policy) do
                if PHASES[field] then
                    phases = phases + 1
                    assert.equal("function", type(value))
                elseif field == "explain" then
                    assert.equal("function", type(policy.access), name)
                else
                    assert.equal(FIELDS[field], type(value), name .. "." .. field)
                end
            end
            assert.is_true(phases > 0, name)
        end
    end)

    it("run in this order", function()
        local policies = {}
        for _, name in ipairs(require("yumen.pipeline").BUILT_IN) do
            policies[#policies + 1] = require("yumen.policies." .. name)
        end
        table.sort(policies, function(a, b) return a.priority > b.priority end)
        local order = {}
        for _, policy in ipairs(policies) do
            order[#order + 1] = policy.priority .. " " .. policy.name
        end
        assert.same({
            "9000 request_id",
            "8500 cors",
            "8000 ip_restriction",
            "7000 key_auth",
            "6000 tenant_status",
            "5000 profile",
            "3000 ai_call",
            "2900 http_call",
            "2700 degradation",
            "2000 limits",
            "1500 breaker",
            "1000 ai_proxy",
            "900 http_proxy",
            "500 open_streams",
            "100 usage_meter",
            "50 telemetry",
        }, order)
    end)
end)
