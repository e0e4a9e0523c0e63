local health = require "yumen.upstream.health"

local function sorted(peers, at)
    local usable, trials = {}, {}
    local panics, next_at = health.sort(peers, at or 100, usable, trials)
    local function names(list)
        local found = {}
        for i, peer in ipairs(list) do
            found[i] = peer.name
        end
        return table.concat(found, " ")
    end
    return names(usable), names(trials), panics, next_at
end

local function well(name) return { name = name } end
local function ill(name) return { name = name, checked_ill = true } end
local function ejected(name, until_) return { name = name, ejected_until = until_ } end


describe("upstream.health", function()
    it("uses peers that nothing is known against", function()
        local usable, trials, panics, next_at = sorted { well "a", well "b" }
        assert.are.same({ "a b", "", false }, { usable, trials, panics })
        assert.is_nil(next_at)
    end)

    it("leaves out what checks found ill, however many", function()
        local usable, trials, panics = sorted { ill "a", well "b", ill "c" }
        assert.are.same({ "b", "", false }, { usable, trials, panics })
    end)

    it("uses all when checks find none well", function()
        assert.are.equal("a b", (sorted { ill "a", ill "b" }))
    end)

    it("leaves out at most half for failed calls, then uses all", function()
        local usable, _, panics = sorted { ejected("a", 110), well "b" }
        assert.are.same({ "b", false }, { usable, panics })
        usable, _, panics = sorted { ejected("a", 110), ejected("b", 120), well "c" }
        assert.are.same({ "a b c", true }, { usable, panics })
        assert.are.equal("a", (sorted { ejected("a", 110) }))
    end)

    it("never comes back to what checks found ill while something else is well", function()
        local usable, _, panics = sorted { ill "a", ejected("b", 110), ill "c" }
        assert.are.same({ "b", true }, { usable, panics })
    end)

    it("tells when a peer that was left out is due for a trial, and then has it tried", function()
        local peers = { ejected("a", 110), ejected("b", 105), well "c", well "d" }
        local usable, trials, _, next_at = sorted(peers, 100)
        assert.are.same({ "c d", "", 105 }, { usable, trials, next_at })
        usable, trials, _, next_at = sorted(peers, 105)
        assert.are.same({ "c d", "b", 110 }, { usable, trials, next_at })
    end)

    it("fills its lists anew", function()
        local usable, trials = { "x", "y", "z" }, { "x" }
        health.sort({ well "a" }, 1, usable, trials)
        assert.are.equal(1, #usable)
        assert.are.equal(0, #trials)
    end)

    it("believes a check when it says the same often enough in a row", function()
        local conf = { healthyAfter = 2, unhealthyAfter = 3 }
        local record, changes = { ill = false, run = 0 }, {}
        local checks = { false, false, true, false, false, false, true, false, true, true }
        for i, is_good in ipairs(checks) do
            if health.take_check(record, is_good, conf) then
                changes[#changes + 1] = i .. (record.ill and " ill" or " well")
            end
        end
        assert.are.same({ "6 ill", "10 well" }, changes)
    end)
end)
