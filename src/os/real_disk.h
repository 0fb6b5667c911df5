// os::Disk on POSIX.
#pragma once

#include "os/disk.h"

#include <memory>
#include <string>

namespace weir::os {

std::unique_ptr<Disk> make_real_disk();

// An advisory lock on dir/LOCK for as long as the object lives: two processes never share a data directory.
class DirLock {
  public:
    // Errors: conflict (another process holds it; its pid is in detail), io.
    static Result<DirLock> take(const std::string& dir);
    DirLock(DirLock&& other) noexcept;
    DirLock& operator=(DirLock&&) = delete;
    ~DirLock();

  private:
    explicit DirLock(int fd) : fd_(fd) {}
    int fd_;
};

}  // namespace weir::os
