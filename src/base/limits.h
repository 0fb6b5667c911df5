// Ceilings. Config may lower one and never raise it. Each says what happens when it is met.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weir::limits {

constexpr std::size_t kib = 1024;
constexpr std::size_t mib = 1024 * kib;
constexpr std::size_t gib = 1024 * mib;

// Events and requests
constexpr std::size_t event_bytes_max = 10'000'000;  // above: a rejected line, `too_large`
constexpr std::size_t body_bytes_max = 64 * mib;     // inflated request body; above: 413
constexpr std::size_t events_per_request_max =
    500'000;                                  // lines or elements; above: 413 (a line of two bytes costs 150)
constexpr std::size_t json_depth_max = 64;    // above: a rejected line, `too_deep`
constexpr std::size_t answer_list_max = 100;  // errors and duplicates listed in one answer; then cut and said
constexpr std::size_t dead_letter_message_bytes_max = 512;  // longer messages are cut

// Names and definitions
constexpr std::size_t name_bytes_max = 249;
constexpr std::size_t columns_max = 200;
constexpr int partitions_max = 256;
constexpr std::size_t streams_max = 20'000;  // above: CREATE is refused
constexpr std::size_t views_max = 1'000;
constexpr std::size_t sql_bytes_max = 100'000;  // one statement; above: refused
constexpr std::size_t path_steps_max = 16;      // steps of a column's JSON path

// The log
constexpr std::size_t entry_bytes_max = 80 * mib;     // one consensus entry: a whole body and its overhead
constexpr std::size_t entry_bytes_target = 8 * mib;   // admission closes an entry here
constexpr std::size_t batch_bytes_max = 76 * mib;     // one record batch
constexpr std::size_t wal_file_bytes = 64 * mib;      // one write-ahead log file, preallocated
constexpr std::size_t segment_bytes_max = 128 * mib;  // a segment rolls here

static_assert(body_bytes_max < batch_bytes_max && batch_bytes_max < entry_bytes_max);

// Queues (bytes); full = overloaded
constexpr std::size_t inbox_bytes_max = 96 * mib;        // queue 1, door to admission
constexpr std::size_t apply_queue_bytes_max = 64 * mib;  // queue 2; beyond it apply reads the write-ahead log
static_assert(inbox_bytes_max > body_bytes_max);

// Queries
constexpr std::int64_t sql_timeout_ms_default = 10'000;
constexpr std::int64_t sql_rows_default = 10'000;

// Connections
constexpr std::size_t connections_max = 12'000;     // above: accept and close
constexpr std::size_t header_bytes_max = 64 * kib;  // above: 431

// Time
constexpr std::int64_t append_gap_ms = 30LL * 86'400'000;  // longer without an append: is it the clock? expiry waits

// Disk
constexpr std::uint64_t disk_reserve_bytes = 96 * mib;  // less free: 503 disk_full until there is more
constexpr std::uint64_t apply_lag_bytes_default = gib;  // further behind: proposals wait
constexpr std::uint64_t wal_bytes_default = gib;        // more log in use: the shard that pins it is checkpointed

// Views
constexpr std::uint64_t open_groups_max = 10'000'000;       // above: the view stops and says so
constexpr std::uint64_t distinct_values_max = 10'000'000;   // of count(DISTINCT) in one view; the same
constexpr std::uint64_t view_state_bytes_max = 4ull * gib;  // groups and values of one view, on disk; the same
constexpr std::uint64_t view_cache_bytes = 64 * mib;        // of them in memory; the rest is read back

// Memory
constexpr std::size_t memory_default = 512 * mib;
constexpr std::size_t dedup_memory_min = 4 * mib;

}  // namespace weir::limits
