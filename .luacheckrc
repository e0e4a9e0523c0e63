-- Rules for the gateway's Lua. Policies are plain Lua: only core/ and the top level know nginx.
std = "ngx_lua"
max_line_length = 100
codes = true
ignore = {
    "212/_.*", -- a phase gets (conf, ctx) and may leave one unused
}
exclude_files = { ".venv/**", "openresty/contract/**" }

files["openresty/lua/yumen/scripts/**"] = { std = "lua51", read_globals = { "redis", "KEYS", "ARGV" } }
files["openresty/lua/yumen/policies/**"] = { std = "lua51" }
files["tests/unit/openresty/**"] = { std = "lua51+busted" }
