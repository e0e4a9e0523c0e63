local retry_budget = require "yumen.upstream.retry_budget"

--- nginx's shared memory, with a clock of the test's own.
local function store()
    local held = {}
    local shared = { at = 0 }
    function shared.incr(_, key, by, initial, seconds)
        local entry = held[key]
        if not entry or entry.ends <= shared.at then
            entry = { value = initial, ends = shared.at + seconds }
            held[key] = entry
        end
        entry.value = entry.value + by
        return entry.value
    end
    function shared.get(_, key)
        local entry = held[key]
        return entry and entry.ends > shared.at and entry.value or nil
    end
    function shared.set(_, key, value, seconds)
        held[key] = { value = value, ends = shared.at + seconds }
    end
    function shared.delete(_, key)
        held[key] = nil
    end
    return shared
end

local function count(budget, shared, at, calls)
    shared.at = at
    for _ = 1, calls do
        budget:count(at)
    end
end

local function spend(budget, at, wanted)
    local spent = 0
    for _ = 1, wanted do
        spent = spent + (budget:spend(at) and 1 or 0)
    end
    return spent
end


describe("upstream.retry_budget", function()
    it("is a tenth of the calls of ten seconds", function()
        local shared = store()
        local budget = retry_budget.new(shared, "u")
        for second = 0, 9 do
            count(budget, shared, second, 100)
        end
        count(budget, shared, 9.9, 1)
        assert.are.equal(90, spend(budget, 9.9, 500))
    end)

    it("is a few for an upstream that is seldom called", function()
        local shared = store()
        local budget = retry_budget.new(shared, "u")
        count(budget, shared, 0, 1)
        assert.are.equal(retry_budget.ALWAYS, spend(budget, 0.5, 500))
    end)

    it("says beforehand that it is spent, and comes back", function()
        local shared = store()
        local budget = retry_budget.new(shared, "u")
        budget:count(0)
        assert.is_true(budget:has_room())
        spend(budget, 0, 500)
        assert.is_false(budget:has_room())
        count(budget, shared, 1, 1)
        assert.is_false(budget:has_room())
        count(budget, shared, 11, 1)
        assert.is_true(budget:has_room())
        assert.are.equal(retry_budget.ALWAYS, spend(budget, 11, 500))
    end)

    it("is one for all workers, and never exceeded", function()
        local shared = store()
        local one, other = retry_budget.new(shared, "u"), retry_budget.new(shared, "u")
        for second = 0, 4 do
            count(one, shared, second, 60)
            count(other, shared, second, 40)
        end
        count(one, shared, 5, 1)
        count(other, shared, 5, 1)
        local spent = 0
        for _ = 1, 100 do
            spent = spent + spend(one, 5, 1) + spend(other, 5, 1)
        end
        assert.are.equal(50, spent)
    end)

    it("is an upstream's own", function()
        local shared = store()
        spend(retry_budget.new(shared, "u"), 0, 500)
        assert.are.equal(retry_budget.ALWAYS, spend(retry_budget.new(shared, "v"), 0, 500))
    end)
end)
