local ffi = require "ffi"

local locked, made = false, {}
local mapped = {}


local FILES = {
    make_directory = function() return true end,
    lock = function()
        if locked then
            return 3
        end
        return nil, "no descriptors left"
    end,
    create_mapped = function(path, size)
        made[#made + 1] = path
        mapped[path] = ffi.new("char[?]", size)      -- kept, or it would be collected
        return mapped[path]
    end,
    rename = function() return true end,
    unmap = function() end,
}


describe("the journal", function()
    package.loaded["yumen.core.files"] = FILES
    package.loaded["yumen.core.node"] = { journal = "/journal", node = "n", segment_bytes = 65536 }
    local journal = require "yumen.journal"

    local function begin()
        return journal.begin {
            credential = { tenant = ("0"):rep(32), key = ("0"):rep(32) },
            model = { id = ("0"):rep(32), costPerCall = "1" },
            route = { endpoint = "chat" },
            cost_multiplier = "1", request_id = "r", started_us = 0,
        }
    end

    it("makes no segment while its lock cannot be had, and tries again with each call", function()
        journal.init_worker()
        local ok, err = begin()
        assert.is_nil(ok)
        assert.equal("no descriptors left", err)
        assert.equal(0, #made)
        locked = true
        assert.is_true(begin())
        assert.equal(1, #made)
    end)
end)
