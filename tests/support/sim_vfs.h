// SQLite on an os::Disk: a VFS for simulation, so that a database meets the same power cuts as the log beside it.
// Journal mode WAL with locking_mode=EXCLUSIVE (DatabaseOptions::exclusive) only: there is no shared memory and no
// locking.
#pragma once

#include "os/disk.h"

#include <string>

namespace weir::test {

// Registers `name` for the life of this object; `disk` must outlive it, and every database on it must be closed before.
class SimVfs {
  public:
    SimVfs(std::string name, os::Disk& disk);
    ~SimVfs();
    SimVfs(const SimVfs&) = delete;
    SimVfs& operator=(const SimVfs&) = delete;
    const std::string& name() const;

  private:
    friend struct SimVfsCalls;
    struct State;
    State* state_;
};

}  // namespace weir::test
