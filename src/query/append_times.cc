#include "query/append_times.h"

#include <utility>

namespace weir::query {

Result<AppendTimes> AppendTimes::open(os::Disk& disk, const std::string& journal_dir, const log::JournalState& state,
                                      PartitionNo partition) {
    auto reader = TRY(log::JournalReader::open(disk, journal_dir, state, LogIndex(0)));
    return AppendTimes(std::move(reader), partition);
}

Result<std::optional<std::int64_t>> AppendTimes::at(std::int64_t offset) {
    while (offset >= to_ && !at_end_) {
        if (next_batch_ == record_.batches.size()) {
            // Without TRY: g++ 12 takes the moved optional for uninitialised.
            auto next = reader_->next();
            if (!next) return std::move(next).error();
            if (!next.value()) {
                at_end_ = true;
                break;
            }
            record_ = std::move(*next.value());
            next_batch_ = 0;
            continue;
        }
        const log::JournalBatch& batch = record_.batches[next_batch_++];
        if (batch.partition != partition_) continue;
        from_ = batch.base_offset;
        to_ = from_ + batch.count;
        append_ms_ = record_.append_time_ms;
    }
    if (offset < from_ || offset >= to_) return std::optional<std::int64_t>();
    return std::optional<std::int64_t>(append_ms_);
}

}  // namespace weir::query
