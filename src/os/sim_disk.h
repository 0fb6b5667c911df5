// os::Disk in memory, from a seed: what was not synced may be lost, torn at 512-byte sectors or reordered by crash();
// create, rename, remove and growth are pending until the file or its folder is synced. Single-threaded.
//
// What crash() does, each decision by itself and from the seed:
//   content   per file, what sync() made durable; over it each 512-byte sector written since survives or not
//             (sector_survival). A surviving sector beyond the durable end extends the file; between are zeros.
//   size      a truncate or an extension since the last sync survives or not (sector_survival), its sectors apart.
//   names     a create, rename or remove since the last sync_dir of its folder survives or not (name_survival);
//             File::sync makes no name durable. A rename is one act and belongs to the folder of its new name.
//   folders   made by make_dirs: durable at once.
#pragma once

#include "base/prng.h"
#include "os/disk.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace weir::os {

struct SimDiskOptions {
    double sector_survival = 0.5;  // chance that an unsynced sector is on disk after a crash
    double name_survival = 0.5;    // the same for an unsynced create, rename or remove
    double write_back = 0;         // chance, at each write to a file, that each unsynced sector of it goes to disk now
    bool drops_cache = true;       // File::drop_cache is a hint: false ignores it
    std::uint64_t capacity_bytes = UINT64_MAX;  // of all files' sizes; beyond: disk_full
};

class SimDisk : public Disk {
  public:
    SimDisk(std::uint64_t seed, SimDiskOptions options);
    ~SimDisk() override;

    // Power cut: every open File answers `io` from now on; a new open sees what survived.
    void crash();
    // The process dies and the machine lives on: every open File answers `io` from now on; nothing is lost.
    void kill_process();
    // Runs before each mutating operation (open that creates, write, truncate, allocate, sync, rename, remove ...).
    // Returning false makes the operation fail with io and act as if the power was cut in its midst: it may or may not
    // have happened, and everything after it fails until crash() is called.
    void on_operation(std::function<bool()> hook);
    std::uint64_t operations() const;  // mutating ones, so far
    void set_capacity(std::uint64_t bytes);
    std::uint64_t used_bytes() const;
    // While on, whatever writes to or creates a file answers disk_full, also in place (as on a copy-on-write file
    // system); write_at leaves nothing, a part or all of what it was given.
    void set_full(bool full);
    // The next File::sync fails with io the way kernels do: what was unsynced counts as clean from then on, is partly
    // lost on disk, and is still what readers see until drop_cache() or crash().
    void fail_next_sync();
    // Flips one bit of the durable and cached content. For corruption tests. CHECKs that the file has it.
    void flip_bit(const std::string& path, std::uint64_t bit);

    Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
    Status remove(const std::string& path) override;
    Status rename(const std::string& from, const std::string& to) override;
    Result<std::vector<std::string>> list(const std::string& dir) override;
    Status make_dirs(const std::string& dir) override;
    Status remove_tree(const std::string& dir) override;
    Status sync_dir(const std::string& dir) override;
    Result<bool> exists(const std::string& path) override;
    Result<std::uint64_t> free_bytes(const std::string& dir) override;

    struct State;

  private:
    std::shared_ptr<State> state_;
};

}  // namespace weir::os
