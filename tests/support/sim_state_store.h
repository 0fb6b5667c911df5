// The state store of simulation on an os::Disk, so that it meets the same power cuts as the log and SQLite beside it:
// one file that each commit replaces as a whole. What a power cut leaves is the last commit that returned, or the one
// it met, never a part of either.
#pragma once

#include "base/result.h"
#include "os/disk.h"
#include "stream/state_store.h"

#include <memory>
#include <string>

namespace weir::test {

// `path`: the file; its folder must be there. The disk must outlive the store. Errors: corrupt, io.
Result<std::unique_ptr<stream::StateStore>> open_sim_state_store(os::Disk& disk, std::string path);

}  // namespace weir::test
