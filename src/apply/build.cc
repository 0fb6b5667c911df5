#include "apply/detail/build.h"

#include "apply/tables.h"
#include "base/limits.h"
#include "record/batch.h"

#include <algorithm>
#include <utility>

namespace weir::apply {

std::uint64_t Applier::Build::left(const Stream& stream) const {
    std::uint64_t left = 0;
    for (std::size_t p = 0; p < stream.partitions.size(); p++) {
        const auto& log = *stream.partitions[p];
        left += static_cast<std::uint64_t>(log.end_offset() - std::max(log.start_offset(), fed_to_[p]));
    }
    return left;
}

double Applier::Build::progress(const Stream& stream) const {
    const auto to_come = static_cast<double>(left(stream));
    const auto done = static_cast<double>(fed_);
    return to_come == 0 ? 1 : done / (done + to_come);
}

// After a restart: what the records up to the cursor said of times and offsets, without reading their batches.
Status Applier::Build::look_back(Applier& applier, const Stream& stream) {
    looked_back_ = true;
    if (cursor_.value == 0) return {};
    auto journal =
        TRY(log::JournalReader::open(applier.disk_, stream.dir + "/journal", stream.journal->state(), LogIndex(0)));
    for (;;) {
        // Without TRY: g++ 12 takes the moved optional for uninitialised.
        auto next = journal->next();
        if (!next) return std::move(next).error();
        const auto& record = next.value();
        if (!record) break;
        if (record->index > cursor_) break;
        if (record->kind != log::JournalKind::data) continue;
        for (const auto& batch : record->batches) {
            if (batch.partition < 0) continue;
            const auto p = static_cast<std::size_t>(batch.partition);
            if (p >= fed_to_.size())
                return Error{Errc::corrupt,
                             "the journal of " + stream.def->name + " names a partition that there is not"};
            arrivals_.on_records(batch.partition, record->append_time_ms);
            const std::int64_t from = std::max(batch.base_offset, stream.partitions[p]->start_offset());
            fed_to_[p] = batch.base_offset + batch.count;
            if (fed_to_[p] > from) fed_ += static_cast<std::uint64_t>(fed_to_[p] - from);
        }
    }
    return {};
}

Result<bool> Applier::Build::feed(Applier& applier, View& view, Stream& stream, std::uint64_t events_max) {
    if (view.stopped()) return true;
    if (!looked_back_) TRY(look_back(applier, stream));
    const std::uint64_t until = fed_ + events_max;
    for (;;) {
        if (!next_ && !journal_) {
            if (stream.journal->state().last_index <= cursor_) return true;
            journal_ = TRY(log::JournalReader::open(applier.disk_, stream.dir + "/journal", stream.journal->state(),
                                                    LogIndex(cursor_.value + 1)));
        }
        if (!next_) next_ = TRY(journal_->next());
        if (!next_) {
            journal_.reset();  // its bound is reached; the journal may have grown meanwhile
            if (stream.journal->state().last_index <= cursor_) return true;
            continue;
        }
        // An index is fed whole: its records are neighbours.
        const LogIndex index = next_->index;
        while (next_ && next_->index == index) {
            TRY(feed_record(applier, view, stream, *next_));
            next_ = TRY(journal_->next());
        }
        cursor_ = index;
        if (view.stopped()) return true;
        if (fed_ >= until) return false;
    }
}

Status Applier::Build::feed_record(Applier& applier, View& view, Stream& stream, const log::JournalRecord& record) {
    switch (record.kind) {
        case log::JournalKind::tick:
            arrivals_.first_ms = stream.arrivals.first_ms;  // retention may have taken the record that it was
            tick_view(*view.tumble, view.plan.tumble, arrivals_, stream.def->schema.idle_after_ms,
                      record.append_time_ms);
            return {};
        case log::JournalKind::flush:
            if (!record.batches.empty() && record.batches[0].base_offset == static_cast<std::int64_t>(view.id.packed()))
                flush_view(*view.tumble, view.plan.tumble);
            return {};
        case log::JournalKind::data:
            break;
    }
    for (const auto& batch : record.batches) {
        if (batch.partition < 0) continue;
        if (static_cast<std::size_t>(batch.partition) >= stream.partitions.size()) {
            return Error{Errc::corrupt,
                         "the journal of " + stream.def->name + " names partition " + std::to_string(batch.partition)};
        }
        TRY(feed_batch(applier, view, stream, batch, record.append_time_ms));
        arrivals_.on_records(batch.partition, record.append_time_ms);
        fed_to_[static_cast<std::size_t>(batch.partition)] = batch.base_offset + batch.count;
    }
    return {};
}

// The stored bytes of the batch that begins at `base_offset`; valid until the next call for its partition.
Result<std::string_view> Applier::Build::batch_at(Applier& applier, const Stream& stream, PartitionNo partition,
                                                  std::int64_t base_offset) {
    auto& reader = readers_[static_cast<std::size_t>(partition)];
    for (bool opened = false;;) {
        if (!reader) {
            const auto& log = *stream.partitions[static_cast<std::size_t>(partition)];
            log::ReadRange range;
            range.from_offset = base_offset;
            reader = TRY(log::PartitionReader::open(applier.disk_,
                                                    partition_dir(applier.options_.dir, stream.def->id, partition),
                                                    log::read_bound(log.state()), range, true));
            opened = true;
        }
        const auto bytes = TRY(reader->next());
        if (bytes) {
            const auto batch = TRY(record::read_batch(*bytes));
            if (batch.header.base_offset == base_offset) return *bytes;
            if (batch.header.base_offset < base_offset) continue;
        }
        reader.reset();  // at its bound, which may be older than the batch
        if (opened) {
            return Error{Errc::corrupt, "partition " + std::to_string(partition) + " of " + stream.def->name +
                                            " has no batch at offset " + std::to_string(base_offset) +
                                            ", which its journal knows"};
        }
    }
}

Status Applier::Build::feed_batch(Applier& applier, View& view, Stream& stream, const log::JournalBatch& batch,
                                  std::int64_t append_ms) {
    const std::int64_t start_offset = stream.partitions[static_cast<std::size_t>(batch.partition)]->start_offset();
    if (batch.base_offset + batch.count <= start_offset) return {};
    const auto bytes = TRY(batch_at(applier, stream, batch.partition, batch.base_offset));
    TRY(applier.decode_batch(stream, bytes, append_ms, columns_));
    // Retention cuts whole segments, and a batch lies in one; below the start there is nothing to read all the same.
    const auto first = static_cast<std::uint32_t>(std::max<std::int64_t>(0, start_offset - batch.base_offset));
    rows_.clear();
    for (std::uint32_t row = first; row < columns_.rows; row++)
        rows_.push_back(row);
    fed_ += rows_.size();
    return applier.feed_view(view, batch.partition, batch.base_offset + first, columns_, rows_, append_ms, bytes);
}

}  // namespace weir::apply
