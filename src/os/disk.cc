#include "os/disk.h"

#include <utility>

namespace weir::os {

std::string parent_of(const std::string& path) {
    auto slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

Result<std::string> read_file(Disk& disk, const std::string& path, std::size_t bytes_max) {
    auto file = TRY(disk.open(path, OpenMode::read));
    std::uint64_t size = TRY(file->size());
    if (size > bytes_max) {
        return Error{Errc::too_large, path + " has " + std::to_string(size) + " bytes, at most " +
                                          std::to_string(bytes_max) + " are read"};
    }
    std::string bytes(static_cast<std::size_t>(size), '\0');
    std::size_t got = TRY(file->read_at(0, bytes));
    bytes.resize(got);
    return bytes;
}

namespace {

Status write_whole(Disk& disk, const std::string& path, std::string_view bytes) {
    auto file = TRY(disk.open(path, OpenMode::create));
    TRY(file->truncate(0));
    const std::string_view pieces[] = {bytes};
    TRY(file->write_at(0, pieces));
    return file->sync();
}

}  // namespace

Status replace_file(Disk& disk, const std::string& path, std::string_view bytes) {
    const std::string beside = path + ".tmp";
    auto written = write_whole(disk, beside, bytes);
    if (!written) {
        // What is left of it would only waste the room that may be what is missing; the first error is the one that
        // counts.
        (void)disk.remove(beside);
        return written;
    }
    TRY(disk.rename(beside, path));
    return disk.sync_dir(parent_of(path));
}

}  // namespace weir::os
