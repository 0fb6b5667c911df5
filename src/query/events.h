// Reading a stream's events in log order by cursor: GET /v1/streams/{s}/events, tail. In the server, beside the flow:
// reads view.db for the bounds, then journal and segments by pread.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "log/journal.h"
#include "os/disk.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::query {

// A place in all partitions of a stream: the index of an entry of its shard and the ordinal of a record in that entry.
// Text: "shard:index:ordinal". The event at the cursor is the next one to read.
struct Cursor {
    ShardId shard;
    LogIndex index;
    std::uint32_t ordinal = 0;
    std::string text() const;
    static Result<Cursor> parse(std::string_view text);  // invalid_argument
};

struct Event {
    Cursor cursor;
    PartitionNo partition = 0;
    std::int64_t offset = 0;
    std::int64_t append_time_ms = 0;
    std::string value;  // the event's bytes as sent
};

// What stood behind the cursor that was asked for, and that retention took before it could be read.
struct Skipped {
    std::uint64_t events = 0;
    bool uncounted = false;  // the journal there is gone as well: there may have been more
    bool any() const { return events > 0 || uncounted; }
};

struct EventPage {
    std::vector<Event> events;
    Cursor next;                // continue here
    std::uint64_t scanned = 0;  // events that were looked at: those of `events`, and those that a filter left out
    Skipped skipped;            // only of a page that begins at a cursor
    LogIndex applied;           // the index that was read
    bool at_end = false;        // it held no more
    log::JournalPlace at;       // of `next`, for the next query
};

struct EventQuery {
    std::string shard_dir;
    ObjectId stream;
    // From a cursor, from the beginning (default), from the end, or from an append time.
    enum class From : std::uint8_t { beginning, end, cursor, append_time } from = From::beginning;
    Cursor cursor;
    std::int64_t append_time_ms = 0;
    std::int64_t last = -1;                // >= 0: the last n events instead
    std::uint32_t limit = 100;             // events; at most 10,000 come at once
    std::uint64_t bytes_max = 8ull << 20;  // stop after this many bytes (at least one event)
    log::JournalPlace at;                  // of a page's `next`, when `cursor` is that; else nothing
};

// Which records an entry put where: what a page would be made of, without their values.
struct PlannedBatch {
    LogIndex index;
    std::int64_t append_time_ms = 0;
    PartitionNo partition = 0;
    std::int64_t from_offset = 0, to_offset = 0;  // what is still there of it, from the cursor on
    std::uint32_t ordinal = 0;                    // of the event at from_offset
    log::JournalPlace at;
};
struct EventPlan {
    std::vector<PlannedBatch> batches;  // in log order
    std::uint64_t events = 0;
    EventPage page;  // without events: where it ends and what was skipped
};

// Reads pages of the streams of one shard. Owner: one thread.
class EventReader {
  public:
    // Errors: not_found (no such shard), io, corrupt.
    static Result<std::unique_ptr<EventReader>> open(os::Disk& disk, const std::string& shard_dir);
    virtual ~EventReader() = default;
    // Errors: not_found (no such stream; or a file was unlinked while it was read: once more helps), invalid_argument,
    // corrupt, io.
    virtual Result<EventPage> read(const EventQuery& query) = 0;
    // At most `query.limit` events (of them at least one batch); no limit of 10,000 here, and bytes do not count.
    virtual Result<EventPlan> plan(const EventQuery& query) = 0;
    // The events `chosen` (indexes into the plan's events, ascending) as far as they fit into a page.
    virtual Result<EventPage> read_planned(const EventQuery& query, const EventPlan& plan,
                                           const std::vector<std::uint64_t>& chosen) = 0;
};

// One page, by a reader made for it.
Result<EventPage> read_events(os::Disk& disk, const EventQuery& query);

}  // namespace weir::query
