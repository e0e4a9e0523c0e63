--- libcrypto by FFI: digests of API keys, sealed upstream keys, signatures of tokens, checksums.
local ffi = require "ffi"
local bit = require "bit"
local node = require "yumen.core.node"

local band, bxor, bor = bit.band, bit.bxor, bit.bor
local byte = string.byte
local cast = ffi.cast
local char = string.char
local fill = ffi.fill
local format = string.format
local gsub = string.gsub
local as_string = ffi.string
local sub = string.sub

ffi.cdef [[
typedef struct evp_md_st EVP_MD;
typedef struct evp_cipher_st EVP_CIPHER;
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct engine_st ENGINE;
const EVP_MD *EVP_sha256(void);
const EVP_CIPHER *EVP_aes_256_gcm(void);
unsigned char *HMAC(const EVP_MD *md, const void *key, int key_length, const unsigned char *data,
                    size_t length, unsigned char *digest, unsigned int *digest_length);
unsigned char *SHA256(const unsigned char *data, size_t length, unsigned char *digest);
EVP_CIPHER_CTX *EVP_CIPHER_CTX_new(void);
void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX *ctx);
int EVP_DecryptInit_ex(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *type, ENGINE *engine,
                       const unsigned char *key, const unsigned char *iv);
int EVP_DecryptUpdate(EVP_CIPHER_CTX *ctx, unsigned char *out, int *out_length,
                      const unsigned char *data, int length);
int EVP_DecryptFinal_ex(EVP_CIPHER_CTX *ctx, unsigned char *out, int *out_length);
int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *ctx, int type, int argument, void *pointer);
typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_pkey_ctx_st EVP_PKEY_CTX;
typedef struct evp_md_ctx_st EVP_MD_CTX;
EVP_PKEY *d2i_PUBKEY(EVP_PKEY **key, const unsigned char **data, long length);
void EVP_PKEY_free(EVP_PKEY *key);
EVP_MD_CTX *EVP_MD_CTX_new(void);
void EVP_MD_CTX_free(EVP_MD_CTX *ctx);
int EVP_DigestVerifyInit(EVP_MD_CTX *ctx, EVP_PKEY_CTX **key_ctx, const EVP_MD *type,
                         ENGINE *engine, EVP_PKEY *key);
int EVP_DigestVerify(EVP_MD_CTX *ctx, const unsigned char *signature, size_t signature_length,
                     const unsigned char *data, size_t length);
void ERR_clear_error(void);
]]

local NEEDED = {
    "EVP_sha256", "EVP_aes_256_gcm", "HMAC", "SHA256", "EVP_CIPHER_CTX_new", "EVP_CIPHER_CTX_free",
    "EVP_DecryptInit_ex", "EVP_DecryptUpdate", "EVP_DecryptFinal_ex", "EVP_CIPHER_CTX_ctrl",
    "d2i_PUBKEY", "EVP_PKEY_free", "EVP_MD_CTX_new", "EVP_MD_CTX_free", "EVP_DigestVerifyInit",
    "EVP_DigestVerify", "ERR_clear_error",
}
local DIGEST_BYTES = 32
local NONCE_BYTES = 12
local TAG_BYTES = 16
local CTRL_AEAD_SET_TAG = 0x11

-- nginx is linked with the libcrypto that it uses itself; a second one must not be mixed in.
local function resolve()
    local function complete(library)
        return pcall(function()
            for _, name in ipairs(NEEDED) do
                local _ = library[name]
            end
        end)
    end
    if complete(ffi.C) then
        return ffi.C
    end
    local library = ffi.load("libcrypto.so.3")
    local ok, err = complete(library)
    return ok and library or error("libcrypto 3 is not complete: " .. err)
end

local crypto = resolve()
local sha256_algorithm = crypto.EVP_sha256()
local gcm = crypto.EVP_aes_256_gcm()
local digest = ffi.new("unsigned char[?]", DIGEST_BYTES)
local out_length = ffi.new("int[1]")

local _M = {}


local function hex(bytes)
    return (gsub(bytes, ".", function(c) return format("%02x", byte(c)) end))
end


local function nibble(code)
    return code >= 97 and code - 87 or code - 48
end


--- SHA-256 of a text, or of `length` bytes at a C pointer, in hex.
function _M.sha256_hex(text, length)
    crypto.SHA256(cast("const unsigned char *", text), length or #text, digest)
    return hex(as_string(digest, DIGEST_BYTES))
end


--- Whether the HMAC-SHA-256 of an API key under the pepper is `expected` (64 lower case hex
-- digits); in a time that does not tell where they differ.
function _M.digest_matches(key, expected)
    if crypto.HMAC(sha256_algorithm, node.pepper, #node.pepper, key, #key, digest, nil) == nil then
        crypto.ERR_clear_error()
        return false
    end
    local difference = bxor(#expected, 2 * DIGEST_BYTES)
    for i = 0, DIGEST_BYTES - 1 do
        local high, low = byte(expected, 2 * i + 1, 2 * i + 2)
        local value = nibble(high or 0) * 16 + nibble(low or 0)
        difference = bor(difference, band(bxor(digest[i], value), 0xFF))
    end
    return difference == 0
end


local function decrypt(ctx, sealed, aad)
    local length = #sealed - NONCE_BYTES - TAG_BYTES
    local ciphertext = sub(sealed, NONCE_BYTES + 1)
    local clear = ffi.new("unsigned char[?]", length + 1)
    local tag = ffi.new("unsigned char[?]", TAG_BYTES)
    ffi.copy(tag, sub(sealed, -TAG_BYTES), TAG_BYTES)
    local good = crypto.EVP_DecryptInit_ex(ctx, gcm, nil, node.seal, sealed) == 1
        and crypto.EVP_DecryptUpdate(ctx, nil, out_length, aad, #aad) == 1
        and crypto.EVP_DecryptUpdate(ctx, clear, out_length, ciphertext, length) == 1
        and crypto.EVP_CIPHER_CTX_ctrl(ctx, CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1
        and crypto.EVP_DecryptFinal_ex(ctx, clear + length, out_length) == 1
    local text = good and as_string(clear, length) or nil
    fill(clear, length)
    return text
end


--- The text of a sealed secret: base64 of nonce, ciphertext, tag; or nil when it is not for `aad`.
function _M.open_sealed(base64, aad)
    local sealed = ngx.decode_base64(base64)
    if not sealed or #sealed < NONCE_BYTES + TAG_BYTES then
        return nil
    end
    local ctx = crypto.EVP_CIPHER_CTX_new()
    local text = decrypt(ctx, sealed, aad)
    crypto.EVP_CIPHER_CTX_free(ctx)
    if not text then
        -- What stays in the queue is blamed on the next TLS connection.
        crypto.ERR_clear_error()
    end
    return text
end


--- A public key to verify with, of its SubjectPublicKeyInfo (DER, base64); or nil.
function _M.public_key(base64)
    local der = ngx.decode_base64(base64)
    if not der then
        return nil
    end
    local at = ffi.new("const unsigned char *[1]", cast("const unsigned char *", der))
    local key = crypto.d2i_PUBKEY(nil, at, #der)
    if key == nil then
        crypto.ERR_clear_error()
        return nil
    end
    return ffi.gc(key, crypto.EVP_PKEY_free)
end


--- A positive integer of big-endian bytes as DER has it.
local function der_integer(bytes)
    bytes = gsub(bytes, "^%z+", "")
    if bytes == "" or byte(bytes) >= 0x80 then
        bytes = "\0" .. bytes
    end
    return "\2" .. char(#bytes) .. bytes
end


-- How a JSON Web Signature has its signature, and how libcrypto wants it.
local SIGNATURES = {
    RS256 = function(signature) return signature, sha256_algorithm end,
    EdDSA = function(signature) return signature, nil end,
    ES256 = function(signature)
        if #signature ~= 64 then
            return nil
        end
        local pair = der_integer(sub(signature, 1, 32)) .. der_integer(sub(signature, 33))
        return "\48" .. char(#pair) .. pair, sha256_algorithm
    end,
}


--- Whether a key made a signature of a text, by an algorithm of RFC 7518 (RS256, ES256, EdDSA).
-- @param key  of `public_key`; its kind must be the algorithm's
function _M.verify(key, algorithm, signature, text)
    local encoded, digest_type = SIGNATURES[algorithm](signature)
    if not encoded then
        return false
    end
    local ctx = crypto.EVP_MD_CTX_new()
    local good = crypto.EVP_DigestVerifyInit(ctx, nil, digest_type, nil, key) == 1
        and crypto.EVP_DigestVerify(ctx, encoded, #encoded, text, #text) == 1
    crypto.EVP_MD_CTX_free(ctx)
    if not good then
        crypto.ERR_clear_error()
    end
    return good
end


return _M
