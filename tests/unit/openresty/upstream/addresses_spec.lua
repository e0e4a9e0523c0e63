local addresses = require "yumen.upstream.addresses"
local networks = require "yumen.core.networks"

local PUBLIC = {
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.0.1.1",
    "198.17.0.1", "198.20.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450::1",
    "2001:4860::8", "::ffff:8.8.8.8", "64:ff9b::808:808",
}

local REFUSED = {
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::169.254.169.254", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe",
    "0:0:0:0:0:ffff:7f00:1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1",
    "2001::1", "2001:0:4136:e378::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::",
    "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1",
    "ff02::1", "4000::1",
}

local NO_ADDRESS = {
    "", "localhost", "127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "127.0.0.1 ", "1.2.3",
    "1.2.3.4.5", "fe80::1%eth0", "[::1]", "::1::", "256.1.1.1",
}


describe("upstream.addresses", function()
    local may_connect = addresses.checker {}

    for _, address in ipairs(PUBLIC) do
        it("lets " .. address .. " pass", function() assert.is_true(may_connect(address)) end)
    end

    for _, address in ipairs(REFUSED) do
        it("refuses " .. address, function() assert.is_false(may_connect(address)) end)
    end

    for _, text in ipairs(NO_ADDRESS) do
        it("takes '" .. text .. "' for no address", function()
            assert.is_nil(networks.parse(text))
            assert.is_false(may_connect(text))
        end)
    end

    it("lets what the operator allows pass, and nothing beside it", function()
        local allowed = addresses.checker { "10.1.0.0/16", "127.0.0.1", "fd00::/8" }
        for _, address in ipairs { "10.1.255.1", "::ffff:10.1.0.1", "127.0.0.1", "fd12::1" } do
            assert.is_true(allowed(address), address)
        end
        for _, address in ipairs { "10.2.0.1", "127.0.0.2", "fc00::1", "::10.1.0.1" } do
            assert.is_false(allowed(address), address)
        end
    end)

    it("lets everything pass when the operator allows everything", function()
        local allowed = addresses.checker { "0.0.0.0/0", "::/0" }
        assert.is_true(allowed("127.0.0.1"))
        assert.is_true(allowed("::1"))
    end)

    it("takes bits that are not on a byte's border", function()
        local allowed = addresses.checker { "10.16.0.0/12" }
        assert.is_true(allowed("10.31.255.255"))
        assert.is_false(allowed("10.32.0.0"))
    end)

    it("stops at a range that is none", function()
        for _, text in ipairs { "10.0.0.0/33", "x/8", "10.0.0.0/", "::/129" } do
            assert.has_error(function() addresses.checker { text } end)
        end
    end)
end)
