// Files as an interface, so that simulation can lose, tear and reorder what was not flushed. Real: os::RealDisk
// (POSIX). Simulated twin: os::SimDisk. Paths are relative to nothing: as the caller gives them.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::os {

// One open file. Thread-safe for positional reads beside one writer.
class File {
  public:
    virtual ~File() = default;
    // Reads up to out.size() bytes at `offset`; fewer only at the end of the file. Errors: io.
    virtual Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) = 0;
    // The same, and of what was not in the page cache before nothing stays there: a scan of much takes no place from
    // what others read. Without read-ahead, so `out` had better be large. For one kind of reading a file: a file that
    // was read so once has no read-ahead any more.
    virtual Result<std::size_t> read_aside(std::uint64_t offset, std::span<char> out) { return read_at(offset, out); }
    // Writes all pieces one after the other at `offset`. Errors: disk_full (ENOSPC, EDQUOT, EFBIG), io. After an error
    // any part may have been written.
    virtual Status write_at(std::uint64_t offset, std::span<const std::string_view> pieces) = 0;
    // fdatasync. An error here means that the page cache may have dropped data: the caller must end the process.
    virtual Status sync() = 0;
    virtual Result<std::uint64_t> size() = 0;
    virtual Status truncate(std::uint64_t bytes) = 0;  // or extend with zeros
    virtual Status allocate(std::uint64_t bytes) = 0;  // reserve space (posix_fallocate), file grows to `bytes`
    // Hints, never failing: start writing a dirty range back; forget a clean range.
    virtual void write_behind(std::uint64_t offset, std::uint64_t bytes) = 0;
    virtual void drop_cache(std::uint64_t offset, std::uint64_t bytes) = 0;
};

enum class OpenMode : std::uint8_t {
    read,        // must exist
    write,       // read and write, must exist
    create,      // read and write, made when absent
    create_new,  // read and write, error already_exists when present
};

class Disk {
  public:
    virtual ~Disk() = default;
    virtual Result<std::unique_ptr<File>> open(const std::string& path,
                                               OpenMode mode) = 0;  // not_found, already_exists, io
    virtual Status remove(const std::string& path) = 0;             // not_found, io
    virtual Status rename(const std::string& from, const std::string& to) = 0;
    virtual Result<std::vector<std::string>> list(const std::string& dir) = 0;  // names, sorted; not_found
    // With parents; present is fine. What it makes is durable when it returns.
    virtual Status make_dirs(const std::string& dir) = 0;
    // Files and folders below, and `dir`; absent is fine. Symbolic links are removed, not followed. Durable once the
    // folder that holds `dir` is synced.
    virtual Status remove_tree(const std::string& dir) = 0;
    virtual Status sync_dir(const std::string& dir) = 0;  // makes create, rename, remove in it durable
    virtual Result<bool> exists(const std::string& path) = 0;
    virtual Result<std::uint64_t> free_bytes(const std::string& dir) = 0;  // for unprivileged writers
};

// The folder that holds `path`: everything before the last '/', "." where there is none.
std::string parent_of(const std::string& path);

// Whole small files. Errors: not_found, too_large (more than `bytes_max`), io.
Result<std::string> read_file(Disk& disk, const std::string& path, std::size_t bytes_max);
// Atomically: write beside (`path`.tmp, one writer at a time), sync, rename, sync the folder. After any error the old
// content stands, or (only when the last step failed) either of the two. Errors: disk_full, not_found (no folder), io.
Status replace_file(Disk& disk, const std::string& path, std::string_view bytes);

}  // namespace weir::os
