#include "query/events.h"

#include "apply/tables.h"
#include "base/check.h"
#include "base/limits.h"
#include "log/journal.h"
#include "log/partition.h"
#include "record/batch.h"
#include "store/reader.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <map>
#include <utility>

namespace weir::query {
namespace {

constexpr std::size_t open_partitions_max = 16;    // each open reader keeps a block of up to 1 MiB
constexpr std::uint32_t events_max = 10'000;       // of one page, whatever the caller asks for
constexpr std::uint32_t plan_events_max = 65'536;  // of one plan
constexpr std::uint32_t records_max = 65'536;      // journal records of one page: entries may hold no event at all

// The bounds of one applied index.
struct Snapshot {
    LogIndex applied;
    std::map<PartitionNo, log::ReadBound> bounds;
    log::JournalState journal;
};

Result<Snapshot> read_snapshot(store::Reader& reader, ObjectId stream) {
    Snapshot snapshot;
    using Row = std::vector<store::Value>;
    const std::vector<store::Value> id = {store::Value::of(static_cast<std::int64_t>(stream.packed()))};
    bool exists = false;
    std::string journal;
    TRY(reader.query_internal(
        "SELECT 1 FROM main._objects WHERE kind = 'stream' AND id = ?1", [&](const Row&) { exists = true; }, id));
    TRY(reader.query_internal("SELECT idx FROM main._applied", [&](const Row& row) {
        snapshot.applied = LogIndex(static_cast<std::uint64_t>(row[0].integer));
    }));
    TRY(reader.query_internal(
        "SELECT partition, start_offset, end_offset, last_segment, last_bytes FROM main._ends WHERE partition >= 0 AND "
        "stream = ?1",
        [&](const Row& row) {
            snapshot.bounds[static_cast<PartitionNo>(row[0].integer)] = {row[1].integer, row[2].integer, row[3].integer,
                                                                         static_cast<std::uint64_t>(row[4].integer)};
        },
        id));
    TRY(reader.query_internal(
        "SELECT state FROM main._journals WHERE stream = ?1", [&](const Row& row) { journal = row[0].text; }, id));
    if (!exists) return Error{Errc::not_found, "there is no stream " + stream.text()};
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

// One page or plan, in one snapshot.
class PageReader {
  public:
    PageReader(os::Disk& disk, const EventQuery& query, const Snapshot& snapshot)
        : disk_(disk), query_(query), snapshot_(snapshot) {}

    Result<EventPage> read(Cursor start) {
        const std::uint32_t limit = std::min(query_.limit, events_max);
        std::uint64_t bytes = 0;
        TRY(walk(start, [&](const PlannedBatch& batch) -> Result<std::uint64_t> {
            const log::ReadBound& bound = snapshot_.bounds.at(batch.partition);
            for (std::int64_t offset = batch.from_offset; offset < batch.to_offset; ++offset) {
                const auto taken = static_cast<std::uint64_t>(offset - batch.from_offset);
                if (page_.events.size() >= limit || (!page_.events.empty() && bytes >= query_.bytes_max)) return taken;
                const std::string_view value = TRY(value_at(batch.partition, bound, offset));
                bytes += value.size();
                const Cursor cursor{page_.next.shard, batch.index, batch.ordinal + static_cast<std::uint32_t>(taken)};
                page_.events.push_back({cursor, batch.partition, offset, batch.append_time_ms, std::string(value)});
            }
            return static_cast<std::uint64_t>(batch.to_offset - batch.from_offset);
        }));
        return std::move(page_);
    }

    Result<EventPlan> plan(Cursor start) {
        EventPlan plan;
        const std::uint64_t limit = std::clamp<std::uint32_t>(query_.limit, 1, plan_events_max);
        TRY(walk(start, [&](const PlannedBatch& batch) -> Result<std::uint64_t> {
            const auto whole = static_cast<std::uint64_t>(batch.to_offset - batch.from_offset);
            const std::uint64_t taken = std::min(whole, limit - plan.events);
            if (taken == 0) return taken;
            plan.batches.push_back(batch);
            plan.batches.back().to_offset = batch.from_offset + static_cast<std::int64_t>(taken);
            plan.events += taken;
            return taken;
        }));
        plan.page = std::move(page_);
        return plan;
    }

    Result<EventPage> read_planned(const EventPlan& plan, const std::vector<std::uint64_t>& chosen) {
        EventPage page = plan.page;
        const std::uint32_t limit = std::min(query_.limit, events_max);
        std::uint64_t bytes = 0, before = 0;  // events of the batches before `batch`
        auto batch = plan.batches.begin();
        for (const std::uint64_t number : chosen) {
            CHECK(number < plan.events);
            while (number - before >= static_cast<std::uint64_t>(batch->to_offset - batch->from_offset))
                before += static_cast<std::uint64_t>(batch->to_offset - batch++->from_offset);
            const std::int64_t offset = batch->from_offset + static_cast<std::int64_t>(number - before);
            const Cursor cursor{page.next.shard, batch->index,
                                batch->ordinal + static_cast<std::uint32_t>(number - before)};
            if (page.events.size() >= limit || (!page.events.empty() && bytes >= query_.bytes_max)) {
                page.next = cursor;
                page.scanned = number;
                page.at_end = false;
                page.at = batch->at;
                break;
            }
            const auto bound = snapshot_.bounds.find(batch->partition);
            if (bound == snapshot_.bounds.end() || offset < bound->second.start_offset) {
                ++page.skipped.events;  // retention was faster
                continue;
            }
            const std::string_view value = TRY(value_at(batch->partition, bound->second, offset));
            bytes += value.size();
            page.events.push_back({cursor, batch->partition, offset, batch->append_time_ms, std::string(value)});
        }
        return page;
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

    // Batch by batch from `start` on. `take` answers how many of a batch's events it took; fewer than all end the
    // walk. Sets where the page ends, and what retention took.
    template <class Take>
    Status walk(Cursor start, Take take) {
        const bool continues = query_.from == EventQuery::From::cursor;
        page_.applied = snapshot_.applied;
        page_.next = start;
        if (continues) note_lost_journal(start);
        if (query_.from == EventQuery::From::append_time) start.index = first_file_of_time(query_.append_time_ms);
        auto journal = TRY(log::JournalReader::open(disk_, journal_dir(), snapshot_.journal, start.index,
                                                    continues ? query_.at : log::JournalPlace{}));
        std::uint32_t records = 0;
        while (true) {
            page_.at = journal->place();
            if (++records > records_max) return {};
            const auto record = TRY(journal->next());
            if (!record) break;
            if (query_.from == EventQuery::From::append_time && record->append_time_ms < query_.append_time_ms)
                continue;
            const std::uint32_t skip = record->index == start.index ? start.ordinal : 0;
            if (!TRY(walk_record(*record, skip, continues, take))) return {};
            page_.next.index = LogIndex(record->index.value + 1);
            page_.next.ordinal = 0;
        }
        // Everything that the index holds was read: what comes next is of a later entry. A cursor from a node that is
        // further stays where it is.
        page_.at_end = true;
        if (page_.next.index <= snapshot_.applied) {
            page_.next.index = LogIndex(snapshot_.applied.value + 1);
            page_.next.ordinal = 0;
        }
        return {};
    }

    // False: the walk ends in this record, and page_.next says where.
    template <class Take>
    Result<bool> walk_record(const log::JournalRecord& record, std::uint32_t skip, bool continues, Take& take) {
        std::uint32_t ordinal = 0;
        for (const log::JournalBatch& batch : record.batches) {
            if (batch.partition < 0) continue;
            const std::uint32_t skipped = std::min(skip, batch.count);
            skip -= skipped;
            PlannedBatch planned{record.index,
                                 record.append_time_ms,
                                 batch.partition,
                                 batch.base_offset + skipped,
                                 batch.base_offset + batch.count,
                                 ordinal + skipped,
                                 page_.at};
            ordinal += batch.count;
            const auto bound = snapshot_.bounds.find(batch.partition);
            if (bound == snapshot_.bounds.end()) continue;
            const std::int64_t start =
                std::min(std::max(planned.from_offset, bound->second.start_offset), planned.to_offset);
            const auto gone = static_cast<std::uint32_t>(start - planned.from_offset);
            if (continues) page_.skipped.events += gone;
            planned.from_offset = start;
            planned.ordinal += gone;
            planned.to_offset = std::min(planned.to_offset, bound->second.end_offset);
            if (planned.from_offset >= planned.to_offset) continue;
            const std::uint64_t taken = TRY(take(planned));
            page_.scanned += taken;
            if (taken == static_cast<std::uint64_t>(planned.to_offset - planned.from_offset)) continue;
            page_.next.index = record.index;
            page_.next.ordinal = planned.ordinal + static_cast<std::uint32_t>(taken);
            return false;
        }
        return true;
    }

    // The journal may have gone with the events. Then nobody can say how many there were, nor whether there were any.
    void note_lost_journal(const Cursor& start) {
        if (start.index.value == 0 || start.index > snapshot_.journal.last_index) return;
        const auto first = snapshot_.journal.first_index();
        if (first && *first <= start.index) return;
        const auto cut = [](const auto& bound) { return bound.second.start_offset > 0; };
        page_.skipped.uncounted = std::ranges::any_of(snapshot_.bounds, cut);
    }

    // Append times ascend: records of files before this index are all older.
    LogIndex first_file_of_time(std::int64_t append_ms) const {
        for (const log::JournalFileState& file : snapshot_.journal.files)
            if (file.last_append_ms >= append_ms) return file.first_index;
        return LogIndex(snapshot_.applied.value + 1);
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
    EventPage page_;
    std::map<PartitionNo, PartitionEvents> open_;
};

class ShardEventReader final : public EventReader {
  public:
    ShardEventReader(os::Disk& disk, std::unique_ptr<store::Reader> reader) : disk_(disk), reader_(std::move(reader)) {}

    Result<EventPage> read(const EventQuery& query) override {
        const Snapshot snapshot = TRY(snapshot_of(query));
        PageReader pages(disk_, query, snapshot);
        return pages.read(TRY(start_of(query, snapshot, pages)));
    }
    Result<EventPlan> plan(const EventQuery& query) override {
        const Snapshot snapshot = TRY(snapshot_of(query));
        PageReader pages(disk_, query, snapshot);
        return pages.plan(TRY(start_of(query, snapshot, pages)));
    }
    Result<EventPage> read_planned(const EventQuery& query, const EventPlan& plan,
                                   const std::vector<std::uint64_t>& chosen) override {
        const Snapshot snapshot = TRY(snapshot_of(query));
        return PageReader(disk_, query, snapshot).read_planned(plan, chosen);
    }

  private:
    Result<Snapshot> snapshot_of(const EventQuery& query) {
        if (query.from == EventQuery::From::cursor && query.cursor.shard != query.stream.shard) {
            return Error{Errc::invalid_argument, "the cursor is of shard " + std::to_string(query.cursor.shard.value) +
                                                     ", the stream of shard " +
                                                     std::to_string(query.stream.shard.value)};
        }
        TRY(reader_->begin_snapshot());
        auto snapshot = read_snapshot(*reader_, query.stream);
        reader_->end_snapshot();
        return snapshot;
    }

    static Result<Cursor> start_of(const EventQuery& query, const Snapshot& snapshot, PageReader& pages) {
        Cursor start;
        start.shard = query.stream.shard;
        if (query.last >= 0) return pages.before_last(static_cast<std::uint64_t>(query.last), start);
        if (query.from == EventQuery::From::cursor) start = query.cursor;
        if (query.from == EventQuery::From::end) start.index = LogIndex(snapshot.applied.value + 1);
        return start;
    }

    os::Disk& disk_;
    std::unique_ptr<store::Reader> reader_;
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

Result<std::unique_ptr<EventReader>> EventReader::open(os::Disk& disk, const std::string& shard_dir) {
    // Statements of our own have no deadline: nobody asks this clock.
    auto reader = TRY(store::Reader::open(shard_dir + "/view.db", [] { return std::int64_t{0}; }));
    return std::unique_ptr<EventReader>(std::make_unique<ShardEventReader>(disk, std::move(reader)));
}

Result<EventPage> read_events(os::Disk& disk, const EventQuery& query) {
    return TRY(EventReader::open(disk, query.shard_dir))->read(query);
}

}  // namespace weir::query
