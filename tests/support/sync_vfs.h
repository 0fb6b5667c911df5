// SQLite on real files, with each fdatasync of its write-ahead log told: whether a commit was made durable shows
// nowhere else.
#pragma once

#include <sqlite3.h>

#include <functional>
#include <map>
#include <string>
#include <utility>

namespace weir::test {

// Registers the VFS "syncs" for the life of this object; databases on it must be closed before.
class SyncVfs {
  public:
    explicit SyncVfs(std::function<void(const std::string& path)> on_log_sync) {
        state().on_log_sync = std::move(on_log_sync);
        vfs_ = *sqlite3_vfs_find(nullptr);
        vfs_.pNext = nullptr;
        vfs_.zName = "syncs";
        vfs_.xOpen = &open;
        sqlite3_vfs_register(&vfs_, 0);
    }
    ~SyncVfs() { sqlite3_vfs_unregister(&vfs_); }
    SyncVfs(const SyncVfs&) = delete;
    SyncVfs& operator=(const SyncVfs&) = delete;
    static const char* name() { return "syncs"; }

  private:
    struct OpenLog {
        std::string path;
        const sqlite3_io_methods* real = nullptr;
        sqlite3_io_methods watched{};
    };
    struct State {
        std::function<void(const std::string&)> on_log_sync;
        std::map<sqlite3_file*, OpenLog> logs;
    };
    static State& state() {
        static State s;
        return s;
    }
    static int open(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* out_flags) {
        sqlite3_vfs* real = sqlite3_vfs_find(nullptr);
        const int code = real->xOpen(real, path, file, flags, out_flags);
        if (code != SQLITE_OK || (flags & SQLITE_OPEN_WAL) == 0) return code;
        OpenLog& log = state().logs[file];
        log = {path, file->pMethods, *file->pMethods};
        log.watched.xSync = &sync;
        log.watched.xClose = &close;
        file->pMethods = &log.watched;
        return code;
    }
    static int sync(sqlite3_file* file, int flags) {
        const OpenLog& log = state().logs.at(file);
        const int code = log.real->xSync(file, flags);
        if (code == SQLITE_OK && state().on_log_sync) state().on_log_sync(log.path);
        return code;
    }
    static int close(sqlite3_file* file) {
        const auto* real = state().logs.at(file).real;
        file->pMethods = real;
        state().logs.erase(file);
        return real->xClose(file);
    }

    sqlite3_vfs vfs_{};
};

}  // namespace weir::test
