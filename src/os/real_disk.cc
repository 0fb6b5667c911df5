#include "os/real_disk.h"

#include "base/check.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace weir::os {
namespace {

Error error_of(int err, const std::string& act, const std::string& path) {
    Errc code = Errc::io;
    if (err == ENOENT || err == ENOTDIR) code = Errc::not_found;
    if (err == EEXIST) code = Errc::already_exists;
    if (err == ENOSPC || err == EDQUOT || err == EFBIG) code = Errc::disk_full;
    return Error{code, act + " " + path + ": " + std::generic_category().message(err), err};
}

// Inside an open file a missing name or a taken one cannot be the reason: whatever is not a full disk is io.
Error file_error(int err, const std::string& act, const std::string& path) {
    Error error = error_of(err, act, path);
    if (error.code != Errc::disk_full) error.code = Errc::io;
    return error;
}

class RealFile final : public File {
  public:
    RealFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
    RealFile(const RealFile&) = delete;
    RealFile& operator=(const RealFile&) = delete;
    ~RealFile() override { ::close(fd_); }

    Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) override {
        std::size_t done = 0;
        while (done < out.size()) {
            ssize_t n = ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return file_error(errno, "read", path_);
            if (n == 0) break;
            done += static_cast<std::size_t>(n);
        }
        return done;
    }

    Result<std::size_t> read_aside(std::uint64_t offset, std::span<char> out) override {
        // Read-ahead would bring pages that nobody asked for, and the next call would take them for somebody else's.
        if (!without_read_ahead_.exchange(true)) (void)::posix_fadvise(fd_, 0, 0, POSIX_FADV_RANDOM);
        const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
        const std::uint64_t begin = offset / page * page;
        const std::uint64_t end = (offset + out.size() + page - 1) / page * page;
        const std::vector<unsigned char> cached = pages_in_cache(begin, end - begin, page);
        const std::size_t got = TRY(read_at(offset, out));
        for (std::size_t i = 0; i < cached.size();) {
            std::size_t same = i;
            while (same < cached.size() && (cached[same] & 1) == (cached[i] & 1))
                ++same;
            if ((cached[i] & 1) == 0) drop_cache(begin + i * page, (same - i) * page);
            i = same;
        }
        return got;
    }

    Status write_at(std::uint64_t offset, std::span<const std::string_view> pieces) override {
        std::array<iovec, 128> vectors;
        std::size_t next = 0;  // first piece that is not wholly handed over
        std::size_t skip = 0;  // bytes of it that are
        while (true) {
            std::size_t count = 0;
            for (std::size_t i = next; i < pieces.size() && count < vectors.size(); i++) {
                std::string_view piece = i == next ? pieces[i].substr(skip) : pieces[i];
                if (piece.empty()) continue;
                vectors[count++] = {const_cast<char*>(piece.data()), piece.size()};
            }
            if (count == 0) return {};
            ssize_t n = ::pwritev(fd_, vectors.data(), static_cast<int>(count), static_cast<off_t>(offset));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return file_error(errno, "write", path_);
            // Nothing written and no error: not a thing that POSIX knows for a regular file; do not spin on it.
            if (n == 0) return file_error(ENOSPC, "write", path_);
            auto left = static_cast<std::size_t>(n);
            offset += left;
            while (next < pieces.size() && pieces[next].size() - skip <= left) {
                left -= pieces[next].size() - skip;
                skip = 0;
                next++;
            }
            skip += left;
        }
    }

    Status sync() override {
        // Not repeated on EINTR: after any failure nobody knows what is on the disk.
        if (::fdatasync(fd_) != 0) return file_error(errno, "fdatasync", path_);
        return {};
    }

    Result<std::uint64_t> size() override {
        struct stat info {};
        if (::fstat(fd_, &info) != 0) return file_error(errno, "stat", path_);
        return static_cast<std::uint64_t>(info.st_size);
    }

    Status truncate(std::uint64_t bytes) override {
        int got = 0;
        do {
            got = ::ftruncate(fd_, static_cast<off_t>(bytes));
        } while (got != 0 && errno == EINTR);
        if (got != 0) return file_error(errno, "truncate", path_);
        return {};
    }

    Status allocate(std::uint64_t bytes) override {
        if (bytes == 0) return {};
        int err = 0;
        do {
            err = ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
        } while (err == EINTR);
        if (err != 0) return file_error(err, "allocate", path_);
        return {};
    }

    void write_behind(std::uint64_t offset, std::uint64_t bytes) override {
        (void)::sync_file_range(fd_, static_cast<off64_t>(offset), static_cast<off64_t>(bytes), SYNC_FILE_RANGE_WRITE);
    }

    void drop_cache(std::uint64_t offset, std::uint64_t bytes) override {
        (void)::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_DONTNEED);
    }

  private:
    // A page's bit 0: it is in memory. Empty: the kernel does not say.
    std::vector<unsigned char> pages_in_cache(std::uint64_t begin, std::uint64_t bytes, std::uint64_t page) const {
        std::vector<unsigned char> cached(bytes / page);
        void* mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd_, static_cast<off_t>(begin));
        if (mapped == MAP_FAILED) return {};
        if (::mincore(mapped, bytes, cached.data()) != 0) cached.clear();
        ::munmap(mapped, bytes);
        return cached;
    }

    const int fd_;
    const std::string path_;
    std::atomic<bool> without_read_ahead_{false};
};

Status sync_folder(const std::string& dir) {
    int fd = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return error_of(errno, "open folder", dir);
    int got = ::fsync(fd);
    int err = errno;
    ::close(fd);
    if (got != 0) return file_error(err, "fsync folder", dir);
    return {};
}

class RealDisk final : public Disk {
  public:
    Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
        int flags = O_CLOEXEC;
        switch (mode) {
            case OpenMode::read:
                flags |= O_RDONLY;
                break;
            case OpenMode::write:
                flags |= O_RDWR;
                break;
            case OpenMode::create:
                flags |= O_RDWR | O_CREAT;
                break;
            case OpenMode::create_new:
                flags |= O_RDWR | O_CREAT | O_EXCL;
                break;
        }
        int fd = -1;
        do {
            fd = ::open(path.c_str(), flags, 0640);
        } while (fd < 0 && errno == EINTR);
        if (fd < 0) return error_of(errno, "open", path);
        return std::unique_ptr<File>(std::make_unique<RealFile>(fd, path));
    }

    Status remove(const std::string& path) override {
        if (::unlink(path.c_str()) != 0) return error_of(errno, "remove", path);
        return {};
    }

    Status rename(const std::string& from, const std::string& to) override {
        if (::rename(from.c_str(), to.c_str()) != 0) {
            return error_of(errno, "rename to " + to + " from", from);
        }
        return {};
    }

    Result<std::vector<std::string>> list(const std::string& dir) override {
        DIR* stream = ::opendir(dir.c_str());
        if (stream == nullptr) return error_of(errno, "list", dir);
        std::vector<std::string> names;
        errno = 0;
        while (const dirent* entry = ::readdir(stream)) {
            std::string name = entry->d_name;
            if (name != "." && name != "..") names.push_back(std::move(name));
            errno = 0;
        }
        int err = errno;
        ::closedir(stream);
        if (err != 0) return error_of(err, "list", dir);
        std::ranges::sort(names);
        return names;
    }

    Status make_dirs(const std::string& dir) override {
        // Left to right, each new name made durable in the folder that holds it.
        for (std::size_t end = 0; end != std::string::npos;) {
            end = dir.find('/', end + 1);
            const std::string part = dir.substr(0, end);
            if (::mkdir(part.c_str(), 0750) == 0) {
                TRY(sync_folder(parent_of(part)));
                continue;
            }
            int err = errno;
            struct stat info {};
            // Some file systems answer EROFS or EACCES before EEXIST: what counts is whether a folder is there.
            if (::stat(part.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
                return error_of(err, "make folder", part);
            }
        }
        return {};
    }

    Status remove_tree(const std::string& dir) override {
        std::error_code error;
        std::filesystem::remove_all(dir, error);
        if (error) return error_of(error.value(), "remove folder", dir);
        return {};
    }

    Status sync_dir(const std::string& dir) override { return sync_folder(dir); }

    Result<bool> exists(const std::string& path) override {
        struct stat info {};
        if (::stat(path.c_str(), &info) == 0) return true;
        if (errno == ENOENT || errno == ENOTDIR) return false;
        return error_of(errno, "stat", path);
    }

    Result<std::uint64_t> free_bytes(const std::string& dir) override {
        struct statvfs info {};
        if (::statvfs(dir.c_str(), &info) != 0) return error_of(errno, "statvfs", dir);
        return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
    }
};

}  // namespace

std::unique_ptr<Disk> make_real_disk() {
    return std::make_unique<RealDisk>();
}

Result<DirLock> DirLock::take(const std::string& dir) {
    const std::string path = dir + "/LOCK";
    int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) return file_error(errno, "open", path);
    int got = 0;
    do {
        got = ::flock(fd, LOCK_EX | LOCK_NB);
    } while (got != 0 && errno == EINTR);
    if (got != 0) {
        int err = errno;
        char text[32] = {};
        ssize_t n = ::pread(fd, text, sizeof text - 1, 0);
        ::close(fd);
        if (err != EWOULDBLOCK) return file_error(err, "lock", path);
        std::string holder(text, n > 0 ? static_cast<std::size_t>(n) : 0);
        while (!holder.empty() && holder.back() == '\n')
            holder.pop_back();
        return Error{Errc::conflict, dir + " is in use by process " + (holder.empty() ? "unknown" : holder), err};
    }
    // The pid is for people: a lock whose text could not be written is a lock all the same.
    std::string text = std::to_string(::getpid()) + "\n";
    if (::ftruncate(fd, 0) == 0) (void)!::pwrite(fd, text.data(), text.size(), 0);
    return DirLock(fd);
}

DirLock::DirLock(DirLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

DirLock::~DirLock() {
    // The file stays: removing it would let a second process lock a name that a third then makes anew.
    if (fd_ >= 0) ::close(fd_);
}

}  // namespace weir::os
