local base62 = require "yumen.core.base62"



describe("base62", function()
    it("gives six characters, zero padded, that it accepts", function()
        for _, text in ipairs { "", "a", "ym_live_0123456789ab_", ("x"):rep(100) } do
            local check = base62.of(text)
            assert.equal(6, #check)
            assert.is_true(base62.check(text .. check))
        end
    end)

    it("agrees with the control plane", function()
        assert.equal("3jZRME", base62.of("123456789"))
    end)

    it("refuses another character anywhere", function()
        local key = "ym_live_abc" .. base62.of("ym_live_abc")
        for i = 1, #key do
            local other = key:sub(i, i) == "a" and "b" or "a"
            assert.is_false(base62.check(key:sub(1, i - 1) .. other .. key:sub(i + 1)))
        end
    end)

    it("refuses what is not base62", function()
        assert.is_false(base62.check("ym_live_abc12345_"))
        assert.is_false(base62.check(""))
    end)
end)
