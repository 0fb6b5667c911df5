#include "query/events.h"

#include "apply/tables.h"
#include "base/limits.h"
#include "log/journal.h"
#include "log/partition.h"
#include "os/clock.h"
#include "record/batch.h"
#include "store/reader.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <map>
#include <utility>

namespace weir::query {
namespace {

constexpr std::size_t open_partitions_max = 16;  // each open reader keeps a block of up to 1 MiB
constexpr std::uint32_t events_max = 10'000;     // of one page, whatever the caller asks for

// The bounds of one applied index.
struct Snapshot {
    LogIndex applied;
    std::map<PartitionNo, log::ReadBound> bounds;
    log::JournalState journal;
};

Result<Snapshot> read_snapshot(const EventQuery& query) {
    os::RealClock clock;
    auto reader = TRY(store::Reader::open(query.shard_dir + "/view.db", [&clock] { return clock.monotonic_us(); }));
    TRY(reader->begin_snapshot());
    Snapshot snapshot;
    using Row = std::vector<store::Value>;
    const std::string id = std::to_string(static_cast<std::int64_t>(query.stream.packed()));
    bool exists = false;
    std::string journal;
    TRY(reader->query_internal("SELECT 1 FROM main._objects WHERE kind = 'stream' AND id = " + id,
                               [&](const Row&) { exists = true; }));
    TRY(reader->query_internal("SELECT idx FROM main._applied", [&](const Row& row) {
        snapshot.applied = LogIndex(static_cast<std::uint64_t>(row[0].integer));
    }));
    TRY(reader->query_internal(
        "SELECT partition, start_offset, end_offset, last_segment, last_bytes FROM main._ends WHERE partition >= 0 AND "
        "stream = " +
            id,
        [&](const Row& row) {
            snapshot.bounds[static_cast<PartitionNo>(row[0].integer)] = {row[1].integer, row[2].integer, row[3].integer,
                                                                         static_cast<std::uint64_t>(row[4].integer)};
        }));
    TRY(reader->query_internal("SELECT state FROM main._journals WHERE stream = " + id,
                               [&](const Row& row) { journal = row[0].text; }));
    reader->end_snapshot();
    if (!exists) return Error{Errc::not_found, "there is no stream " + query.stream.text()};
    if (!journal.empty()) snapshot.journal = TRY(log::JournalState::decode(journal));
    return snapshot;
}

// Events of an entry that a cursor counts: the dead letters of the entry are not among them.
std::uint64_t events_of(const log::JournalRecord& record) {
    std::uint64_t events = 0;
    for (const log::JournalBatch& batch : record.batches)
        events += batch.partition >= 0 ? batch.count : 0;
    return events;
}

// Those of them that are still there: retention moves the start of a partition. (Of the end nothing is cut: journal and
// bounds are of one applied index.)
std::uint64_t kept_events_of(const log::JournalRecord& record, const Snapshot& snapshot) {
    std::uint64_t events = 0;
    for (const log::JournalBatch& batch : record.batches) {
        const auto bound = snapshot.bounds.find(batch.partition);
        if (bound == snapshot.bounds.end()) continue;
        const std::int64_t from = std::max(batch.base_offset, bound->second.start_offset);
        const std::int64_t to = std::min<std::int64_t>(batch.base_offset + batch.count, bound->second.end_offset);
        events += to > from ? static_cast<std::uint64_t>(to - from) : 0;
    }
    return events;
}

// One partition, read forwards.
class PartitionEvents {
  public:
    static Result<PartitionEvents> open(os::Disk& disk, const std::string& dir, const log::ReadBound& bound,
                                        std::int64_t from) {
        log::ReadRange range;
        range.from_offset = from;
        PartitionEvents events;
        events.reader_ = TRY(log::PartitionReader::open(disk, dir, bound, range, true));
        return events;
    }

    // The value of the record at `offset`; offsets rise from call to call. Errors: corrupt (it is not there).
    Result<std::string_view> at(std::int64_t offset) {
        while (true) {
            if (!iterator_) {
                const auto bytes = TRY(reader_->next());
                if (!bytes)
                    return Error{Errc::corrupt,
                                 "the log ends before offset " + std::to_string(offset) + ", which the journal knows"};
                batch_ = TRY(record::read_batch(*bytes));
                if (batch_.next_offset() <= offset) continue;
                iterator_ = TRY(record::RecordIterator::open(batch_, limits::batch_bytes_max));
            }
            record::Record record;
            if (!TRY(iterator_->next(record))) {
                iterator_.reset();
                continue;
            }
            if (record.offset < offset) continue;
            if (record.offset > offset)
                return Error{Errc::corrupt, "the log has no record at offset " + std::to_string(offset)};
            return record.value;
        }
    }

  private:
    std::unique_ptr<log::PartitionReader> reader_;
    record::BatchView batch_;
    std::optional<record::RecordIterator> iterator_;
};

class PageReader {
  public:
    PageReader(os::Disk& disk, const EventQuery& query, const Snapshot& snapshot)
        : disk_(disk), query_(query), snapshot_(snapshot), limit_(std::min(query.limit, events_max)) {}

    // Reads on from `start`, journal record by journal record.
    Result<EventPage> read(Cursor start) {
        page_.next = start;
        auto journal = TRY(log::JournalReader::open(disk_, journal_dir(), snapshot_.journal, start.index));
        while (auto record = TRY(journal->next())) {
            if (query_.from == EventQuery::From::append_time && record->append_time_ms < query_.append_time_ms)
                continue;
            std::uint32_t skip = record->index == start.index ? start.ordinal : 0;
            std::uint32_t ordinal = 0;
            for (const log::JournalBatch& batch : record->batches) {
                if (batch.partition < 0) continue;
                const std::uint32_t skipped = std::min(skip, batch.count);
                skip -= skipped;
                if (!TRY(read_batch(*record, batch, skipped, ordinal))) return std::move(page_);
                ordinal += batch.count;
            }
            page_.next.index = LogIndex(record->index.value + 1);
            page_.next.ordinal = 0;
        }
        // Everything that the index holds was read: what comes next is of a later entry. A cursor from a node that is
        // further stays where it is.
        if (page_.next.index <= snapshot_.applied) {
            page_.next.index = LogIndex(snapshot_.applied.value + 1);
            page_.next.ordinal = 0;
        }
        return std::move(page_);
    }

    // The cursor before the last `count` events.
    Result<Cursor> before_last(std::uint64_t count, Cursor start) {
        auto journal = TRY(log::JournalReader::open(disk_, journal_dir(), snapshot_.journal, LogIndex(0)));
        std::deque<log::JournalRecord> tail;
        std::uint64_t kept = 0;
        while (auto record = TRY(journal->next())) {
            const std::uint64_t events = kept_events_of(*record, snapshot_);
            if (events == 0) continue;
            kept += events;
            tail.push_back(std::move(*record));
            while (kept - kept_events_of(tail.front(), snapshot_) >= count && tail.size() > 1) {
                kept -= kept_events_of(tail.front(), snapshot_);
                tail.pop_front();
            }
        }
        if (tail.empty() || count == 0) {
            start.index = LogIndex(snapshot_.applied.value + 1);
            return start;
        }
        start.index = tail.front().index;
        // Events of the first entry that are one too many, and those that retention took in front of them.
        const std::uint64_t gone = events_of(tail.front()) - kept_events_of(tail.front(), snapshot_);
        start.ordinal = static_cast<std::uint32_t>((kept > count ? kept - count : 0) + gone);
        return start;
    }

  private:
    std::string journal_dir() const { return apply::stream_dir(query_.shard_dir, query_.stream) + "/journal"; }

    // False: the page is full. `ordinal` is of the batch's first event.
    Result<bool> read_batch(const log::JournalRecord& record, const log::JournalBatch& batch, std::uint32_t skipped,
                            std::uint32_t ordinal) {
        const auto bound = snapshot_.bounds.find(batch.partition);
        if (bound == snapshot_.bounds.end()) return true;
        for (std::uint32_t i = skipped; i < batch.count; ++i) {
            const std::int64_t offset = batch.base_offset + i;
            if (offset < bound->second.start_offset || offset >= bound->second.end_offset) continue;
            page_.next.index = record.index;
            page_.next.ordinal = ordinal + i;
            if (page_.events.size() >= limit_ || (!page_.events.empty() && bytes_ >= query_.bytes_max)) return false;
            const std::string_view value = TRY(value_at(batch.partition, bound->second, offset));
            bytes_ += value.size();
            page_.events.push_back({page_.next, batch.partition, offset, record.append_time_ms, std::string(value)});
            ++page_.next.ordinal;
        }
        return true;
    }

    Result<std::string_view> value_at(PartitionNo partition, const log::ReadBound& bound, std::int64_t offset) {
        auto open = open_.find(partition);
        if (open == open_.end()) {
            if (open_.size() >= open_partitions_max) open_.clear();
            const std::string dir = apply::partition_dir(query_.shard_dir, query_.stream, partition);
            open = open_.emplace(partition, TRY(PartitionEvents::open(disk_, dir, bound, offset))).first;
        }
        return open->second.at(offset);
    }

    os::Disk& disk_;
    const EventQuery& query_;
    const Snapshot& snapshot_;
    const std::uint32_t limit_;
    EventPage page_;
    std::uint64_t bytes_ = 0;
    std::map<PartitionNo, PartitionEvents> open_;
};

// A run of digits up to `mark` (or the end), as a number.
template <class T>
bool take_number(std::string_view& text, char mark, T& out) {
    const std::size_t end = mark == '\0' ? text.size() : text.find(mark);
    if (end == std::string_view::npos || end == 0) return false;
    const auto [stop, problem] = std::from_chars(text.data(), text.data() + end, out);
    if (problem != std::errc{} || stop != text.data() + end) return false;
    text.remove_prefix(mark == '\0' ? end : end + 1);
    return true;
}

}  // namespace

std::string Cursor::text() const {
    return std::to_string(shard.value) + ":" + std::to_string(index.value) + ":" + std::to_string(ordinal);
}

Result<Cursor> Cursor::parse(std::string_view text) {
    Cursor cursor;
    if (!take_number(text, ':', cursor.shard.value) || !take_number(text, ':', cursor.index.value) ||
        !take_number(text, '\0', cursor.ordinal)) {
        return Error{Errc::invalid_argument, "a cursor is shard:index:ordinal, as `next` gave it"};
    }
    return cursor;
}

Result<EventPage> read_events(os::Disk& disk, const EventQuery& query) {
    Cursor start;
    start.shard = query.stream.shard;
    if (query.from == EventQuery::From::cursor) {
        if (query.cursor.shard != start.shard) {
            return Error{Errc::invalid_argument, "the cursor is of shard " + std::to_string(query.cursor.shard.value) +
                                                     ", the stream of shard " + std::to_string(start.shard.value)};
        }
        start = query.cursor;
    }
    const Snapshot snapshot = TRY(read_snapshot(query));
    PageReader reader(disk, query, snapshot);
    if (query.last >= 0) {
        start = TRY(reader.before_last(static_cast<std::uint64_t>(query.last), start));
    } else if (query.from == EventQuery::From::end) {
        start.index = LogIndex(snapshot.applied.value + 1);
    }
    return reader.read(start);
}

}  // namespace weir::query
