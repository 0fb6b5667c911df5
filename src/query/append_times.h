// Append times of one partition's records: the journal walked beside a scan. Offsets are asked for in rising order, so
// that the journal of a stream of any length costs no memory.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "log/journal.h"
#include "os/disk.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace weir::query {

class AppendTimes {
  public:
    // `disk` and the files must outlive this object. Errors: io, corrupt, not_found.
    static Result<AppendTimes> open(os::Disk& disk, const std::string& journal_dir, const log::JournalState& state,
                                    PartitionNo partition);
    // nullopt: the journal does not reach back that far. Errors: io, corrupt.
    Result<std::optional<std::int64_t>> at(std::int64_t offset);

  private:
    AppendTimes(std::unique_ptr<log::JournalReader> reader, PartitionNo partition)
        : reader_(std::move(reader)), partition_(partition) {}
    std::unique_ptr<log::JournalReader> reader_;
    PartitionNo partition_;
    log::JournalRecord record_;
    std::size_t next_batch_ = 0;
    std::int64_t from_ = 0, to_ = 0;  // offsets of the present batch
    std::int64_t append_ms_ = 0;      // its append time
    bool at_end_ = false;
};

}  // namespace weir::query
