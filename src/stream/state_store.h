// Operator state and checkpoint facts as of the last checkpoint: LMDB behind an interface, and a twin for simulation.
// Default LMDB flags only (NOSYNC reopened empty after a power cut). A commit error must end the process.
// Reads: any time, one thread (the apply thread). Writes: one write transaction, on the thread that runs the
// checkpoint.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::stream {

struct StateChange {
    std::string key;
    std::optional<std::string> value;  // nullopt: delete
};

class StateStore {
  public:
    virtual ~StateStore() = default;
    virtual Result<std::optional<std::string>> get(std::string_view key) = 0;
    // Keys with this prefix in byte order; stop by returning false.
    virtual Status scan(std::string_view prefix,
                        const std::function<bool(std::string_view key, std::string_view value)>& on_item) = 0;
    // All changes or none, durable on return. May run on another thread than get and scan. Errors: disk_full, io (both
    // end the process).
    virtual Status commit(const std::vector<StateChange>& changes) = 0;
};

// LMDB at `dir` (made when absent), map of `map_bytes` (reserved, sparse). Values carry a CRC-32C. Keys are at most 500
// bytes: longer ones are stored under their 128-bit hash with the key in the value. Errors: corrupt, io.
Result<std::unique_ptr<StateStore>> open_lmdb(const std::string& dir, std::uint64_t map_bytes);

// The twin: commit is atomic and durable or, after the disk's power cut hook says no, not done at all.
std::unique_ptr<StateStore> make_memory_store();

}  // namespace weir::stream
