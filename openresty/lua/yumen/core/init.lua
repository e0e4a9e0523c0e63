--- All that a policy may use of nginx and the system: `local core = require "yumen.core"`.
return {
    base62 = require "yumen.core.base62",
    cache = require "yumen.core.cache",
    clock = require "yumen.core.clock",
    crypto = require "yumen.core.crypto",
    ids = require "yumen.core.ids",
    json = require "yumen.core.json",
    log = require "yumen.core.log",
    request = require "yumen.core.request",
    response = require "yumen.core.response",
}
