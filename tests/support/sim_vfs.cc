#include "support/sim_vfs.h"

#include "base/check.h"
#include "base/prng.h"

#include <sqlite3.h>

#include <cstring>
#include <memory>
#include <new>
#include <utility>

namespace weir::test {

struct SimVfs::State {
    std::string name;
    os::Disk& disk;
    Prng prng{1};
    std::uint64_t temporary_count = 0;
    sqlite3_vfs vfs{};
    State(std::string n, os::Disk& d) : name(std::move(n)), disk(d) {}
};

namespace {

constexpr int path_bytes_max = 512;

// SQLite allocates these bytes; what needs a constructor hangs off a pointer.
struct OpenFile {
    std::unique_ptr<os::File> file;
    os::Disk* disk = nullptr;
    std::string path;
    bool remove_on_close = false;
    bool sync_dir = false;  // the name is new: the first sync makes it durable too
};

struct SimFile : sqlite3_file {
    OpenFile* open = nullptr;
};

OpenFile& of(sqlite3_file* file) {
    return *static_cast<SimFile*>(file)->open;
}

std::string dir_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

int code_of(const Error& error, int io_code) {
    return error.code == Errc::disk_full ? SQLITE_FULL : io_code;
}

int file_close(sqlite3_file* file) {
    OpenFile* open = static_cast<SimFile*>(file)->open;
    open->file.reset();
    if (open->remove_on_close) (void)open->disk->remove(open->path);
    delete open;
    return SQLITE_OK;
}

int file_read(sqlite3_file* file, void* out, int size, sqlite3_int64 offset) {
    const auto wanted = static_cast<std::size_t>(size);
    auto* bytes = static_cast<char*>(out);
    const auto got = of(file).file->read_at(static_cast<std::uint64_t>(offset), {bytes, wanted});
    if (!got) return SQLITE_IOERR_READ;
    if (got.value() == wanted) return SQLITE_OK;
    std::memset(bytes + got.value(), 0, wanted - got.value());
    return SQLITE_IOERR_SHORT_READ;
}

int file_write(sqlite3_file* file, const void* in, int size, sqlite3_int64 offset) {
    const std::string_view piece(static_cast<const char*>(in), static_cast<std::size_t>(size));
    const Status written = of(file).file->write_at(static_cast<std::uint64_t>(offset), {&piece, 1});
    return written ? SQLITE_OK : code_of(written.error(), SQLITE_IOERR_WRITE);
}

int file_truncate(sqlite3_file* file, sqlite3_int64 size) {
    return of(file).file->truncate(static_cast<std::uint64_t>(size)) ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
}

int file_sync(sqlite3_file* file, int) {
    OpenFile& open = of(file);
    if (!open.file->sync()) return SQLITE_IOERR_FSYNC;
    if (open.sync_dir) {
        if (!open.disk->sync_dir(dir_of(open.path))) return SQLITE_IOERR_DIR_FSYNC;
        open.sync_dir = false;
    }
    return SQLITE_OK;
}

int file_size(sqlite3_file* file, sqlite3_int64* out) {
    const auto size = of(file).file->size();
    if (!size) return SQLITE_IOERR_FSTAT;
    *out = static_cast<sqlite3_int64>(size.value());
    return SQLITE_OK;
}

int file_lock(sqlite3_file*, int) {
    return SQLITE_OK;
}
int file_reserved(sqlite3_file*, int* out) {
    *out = 0;
    return SQLITE_OK;
}
int file_control(sqlite3_file*, int, void*) {
    return SQLITE_NOTFOUND;
}
int file_sector_size(sqlite3_file*) {
    return 512;
}
// A sector is old or new after a power cut, so a write harms nothing beside it.
int file_characteristics(sqlite3_file*) {
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

// Version 1: no shared memory, which makes SQLite insist on exclusive locking for WAL.
constexpr sqlite3_io_methods io_methods = {
    1,         file_close,    file_read,    file_write,       file_truncate,        file_sync, file_size, file_lock,
    file_lock, file_reserved, file_control, file_sector_size, file_characteristics, nullptr,   nullptr,   nullptr,
    nullptr,   nullptr,       nullptr,
};

}  // namespace

// A friend of SimVfs for its State.
struct SimVfsCalls {
    static SimVfs::State& state(sqlite3_vfs* vfs) { return *static_cast<SimVfs::State*>(vfs->pAppData); }

    static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* raw, int flags, int* out_flags) {
        auto* file = new (raw) SimFile{};
        file->pMethods = nullptr;  // tells SQLite not to close what did not open
        SimVfs::State& s = state(vfs);
        auto open = std::make_unique<OpenFile>();
        open->disk = &s.disk;
        open->path = name != nullptr ? name : "sqlite-temporary-" + std::to_string(s.temporary_count++);
        open->remove_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
        const auto exists = s.disk.exists(open->path);
        if (!exists) return SQLITE_CANTOPEN;
        const bool create = (flags & SQLITE_OPEN_CREATE) != 0;
        open->sync_dir = create && !exists.value();
        const os::OpenMode mode = (flags & SQLITE_OPEN_READONLY) != 0 ? os::OpenMode::read
                                  : create                            ? os::OpenMode::create
                                                                      : os::OpenMode::write;
        auto opened = s.disk.open(open->path, mode);
        if (!opened) return SQLITE_CANTOPEN;
        open->file = std::move(opened).value();
        file->open = open.release();
        file->pMethods = &io_methods;
        if (out_flags != nullptr) *out_flags = flags;
        return SQLITE_OK;
    }

    static int remove(sqlite3_vfs* vfs, const char* name, int sync_dir) {
        SimVfs::State& s = state(vfs);
        const Status removed = s.disk.remove(name);
        if (!removed) return removed.error().code == Errc::not_found ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
        if (sync_dir != 0 && !s.disk.sync_dir(dir_of(name))) return SQLITE_IOERR_DIR_FSYNC;
        return SQLITE_OK;
    }

    static int access(sqlite3_vfs* vfs, const char* name, int, int* out) {
        const auto exists = state(vfs).disk.exists(name);
        if (!exists) return SQLITE_IOERR_ACCESS;
        *out = exists.value() ? 1 : 0;
        return SQLITE_OK;
    }

    static int full_path(sqlite3_vfs*, const char* name, int size, char* out) {
        const std::size_t length = std::strlen(name);
        if (length + 1 > static_cast<std::size_t>(size)) return SQLITE_CANTOPEN;
        std::memcpy(out, name, length + 1);
        return SQLITE_OK;
    }

    static int randomness(sqlite3_vfs* vfs, int size, char* out) {
        for (int i = 0; i < size; ++i)
            out[i] = static_cast<char>(state(vfs).prng.next());
        return size;
    }

    static int sleep(sqlite3_vfs*, int microseconds) { return microseconds; }
    static int now_days(sqlite3_vfs*, double* out) {
        *out = 2440587.5;  // 1970-01-01 as a Julian day
        return SQLITE_OK;
    }
    static int last_error(sqlite3_vfs*, int, char*) { return 0; }
};

SimVfs::SimVfs(std::string name, os::Disk& disk) : state_(new State(std::move(name), disk)) {
    sqlite3_vfs& vfs = state_->vfs;
    vfs.iVersion = 1;
    vfs.szOsFile = sizeof(SimFile);
    vfs.mxPathname = path_bytes_max;
    vfs.zName = state_->name.c_str();
    vfs.pAppData = state_;
    vfs.xOpen = SimVfsCalls::open;
    vfs.xDelete = SimVfsCalls::remove;
    vfs.xAccess = SimVfsCalls::access;
    vfs.xFullPathname = SimVfsCalls::full_path;
    vfs.xRandomness = SimVfsCalls::randomness;
    vfs.xSleep = SimVfsCalls::sleep;
    vfs.xCurrentTime = SimVfsCalls::now_days;
    vfs.xGetLastError = SimVfsCalls::last_error;
    CHECK(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK);
}

SimVfs::~SimVfs() {
    sqlite3_vfs_unregister(&state_->vfs);
    delete state_;
}

const std::string& SimVfs::name() const {
    return state_->name;
}

}  // namespace weir::test
