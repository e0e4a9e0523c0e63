--- Files that are mapped into memory, and directories that belong to one process.
local ffi = require "ffi"

local C = ffi.C
local cast = ffi.cast
local string = ffi.string
local tonumber = tonumber

ffi.cdef [[
int open(const char *path, int flags, ...);
int close(int fd);
int mkdir(const char *path, unsigned int mode);
int unlink(const char *path);
int rename(const char *from, const char *to);
int flock(int fd, int operation);
long lseek(int fd, long offset, int whence);
int posix_fallocate(int fd, long offset, long length);
void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset);
int munmap(void *address, size_t length);
char *strerror(int number);
]]

-- Values of Linux, the same on x86-64 and arm64.
local O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_CLOEXEC = 0, 2, 0x40, 0x80, 0x80000
local SEEK_END = 2
local LOCK_EX, LOCK_NB = 2, 4
local PROT_READ, PROT_WRITE, MAP_SHARED = 1, 2, 1
local EEXIST = 17

local _M = {}


local function reason(number)
    return string(C.strerror(number))
end


--- Make a directory; that it exists already is fine. Returns true; or nil, err.
function _M.make_directory(path)
    if C.mkdir(path, 0x1C0) ~= 0 and ffi.errno() ~= EEXIST then
        return nil, path .. ": " .. reason(ffi.errno())
    end
    return true
end


--- Lock a file for the life of this process. Returns its descriptor; or nil, err.
function _M.lock(path)
    local fd = C.open(path, O_RDWR + O_CREAT + O_CLOEXEC, ffi.cast("int", 0x180))
    if fd < 0 then
        return nil, path .. ": " .. reason(ffi.errno())
    end
    if C.flock(fd, LOCK_EX + LOCK_NB) ~= 0 then
        local err = reason(ffi.errno())
        C.close(fd)
        return nil, path .. ": " .. err
    end
    return fd
end


local function map(fd, path, size)
    -- A sparse mapped file on a full disk is a SIGBUS, so its blocks are taken first.
    local failed = C.posix_fallocate(fd, 0, size)
    if failed ~= 0 then
        return nil, path .. ": " .. reason(failed)
    end
    local address = C.mmap(nil, size, PROT_READ + PROT_WRITE, MAP_SHARED, fd, 0)
    if address == cast("void *", -1) then
        return nil, path .. ": " .. reason(ffi.errno())
    end
    return cast("char *", address)
end


--- Make a file of `size` zero bytes, all allocated, mapped shared. Returns char *; or nil, err.
function _M.create_mapped(path, size)
    local fd = C.open(path, O_RDWR + O_CREAT + O_EXCL + O_CLOEXEC, ffi.cast("int", 0x180))
    if fd < 0 then
        return nil, path .. ": " .. reason(ffi.errno())
    end
    local base, err = map(fd, path, size)
    C.close(fd)
    if not base then
        C.unlink(path)       -- it keeps what it got of the disk otherwise
    end
    return base, err
end


--- Map a file to be read. Returns const char *, its size; nil when there is none, or it is empty.
function _M.map_to_read(path)
    local fd = C.open(path, O_RDONLY + O_CLOEXEC)
    if fd < 0 then
        return nil
    end
    local size = tonumber(C.lseek(fd, 0, SEEK_END))
    local address = C.mmap(nil, size, PROT_READ, MAP_SHARED, fd, 0)
    C.close(fd)
    if address == cast("void *", -1) then
        return nil
    end
    return cast("const char *", address), size
end


--- Rename a file. Returns true; or nil, err.
function _M.rename(from, to)
    if C.rename(from, to) ~= 0 then
        return nil, to .. ": " .. reason(ffi.errno())
    end
    return true
end


--- Remove a file.
function _M.remove(path)
    C.unlink(path)
end


--- Undo `create_mapped` or `map_to_read`; the file stays.
function _M.unmap(base, size)
    C.munmap(cast("void *", base), size)
end


return _M
