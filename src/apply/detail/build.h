// A view that is made over events which are there already: read from journal and segments in the log's order, beside
// the entries that go on coming in, until the entry "view live".
//
// The journal's order is the log's: batches of all partitions, ticks and flushes as they were applied, so the view
// comes out as if it had been there from the start. The cursor is the last index that was fed whole; it stands in the
// checkpoint with the operator's state, so a restart goes on from there.
#pragma once

#include "apply/applier.h"
#include "apply/detail/state.h"
#include "apply/detail/ticks.h"
#include "log/journal.h"
#include "log/partition.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace weir::apply {

class Applier::Build {
  public:
    Build(LogIndex cursor, std::size_t partitions) : cursor_(cursor), fed_to_(partitions, 0), readers_(partitions) {
        arrivals_.last_ms.assign(partitions, INT64_MIN);
    }

    LogIndex cursor() const { return cursor_; }
    bool told_caught_up = false;

    // Feeds whole indexes until `events_max` records were fed or everything up to the journal's last flush is.
    // True: nothing is left. Errors as PartitionReader, JournalReader and Applier::feed_view.
    Result<bool> feed(Applier& applier, View& view, Stream& stream, std::uint64_t events_max);
    // Records of the stream that are still to be fed.
    std::uint64_t left(const Stream& stream) const;
    // 0..1
    double progress(const Stream& stream) const;

  private:
    Status look_back(Applier& applier, const Stream& stream);
    Status feed_record(Applier& applier, View& view, Stream& stream, const log::JournalRecord& record);
    Status feed_batch(Applier& applier, View& view, Stream& stream, const log::JournalBatch& batch,
                      std::int64_t append_ms);
    Result<std::string_view> batch_at(Applier& applier, const Stream& stream, PartitionNo partition,
                                      std::int64_t base_offset);

    LogIndex cursor_;
    bool looked_back_ = false;
    Arrivals arrivals_;                 // as of the cursor
    std::vector<std::int64_t> fed_to_;  // by partition: the offset behind the last record fed
    std::unique_ptr<log::JournalReader> journal_;
    std::optional<log::JournalRecord> next_;  // read and not fed
    std::vector<std::unique_ptr<log::PartitionReader>> readers_;
    std::uint64_t fed_ = 0;
    record::ColumnBatch columns_;
    std::vector<std::uint32_t> rows_;
};

}  // namespace weir::apply
