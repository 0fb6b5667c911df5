// Reading a stream's events in log order by cursor: GET /v1/streams/{s}/events, tail. In the server, beside the flow:
// reads view.db for the bounds, then journal and segments by pread.
#pragma once

#include "base/ids.h"
#include "base/result.h"
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

struct EventPage {
    std::vector<Event> events;
    Cursor next;  // continue here
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
};

// Errors: not_found (no such stream), invalid_argument, corrupt, io.
Result<EventPage> read_events(os::Disk& disk, const EventQuery& query);

}  // namespace weir::query
