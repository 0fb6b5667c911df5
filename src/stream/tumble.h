// Tumbling event-time windows with per-partition watermarks: (state, batch) -> (state, dirty groups, late rows).
// Deterministic: nothing but the plan, the records and their offsets decides. contract.md "Time"; stream-sql.md S3-S8,
// S13-S18, S22.
//
// A record of event time e falls in [start, start + size), start = floor((e - offset) / size) * size + offset.
// Per partition: watermark = highest event time seen before the record - delay. The record is late for its window iff
// end + lateness <= that watermark. A group's state is dropped when the least watermark of all partitions has passed
// end + lateness; a partition without a record counts as minus infinity.
// Every record of a partition advances its watermark, filtered and late ones too, after its own test. WHERE comes
// before the test: what it drops is filtered, never late. REAL sums are kept per partition and merged in partition
// order; integer sums are 128 bits wide and read as NULL when the result does not fit 64. Text in sum and avg counts as
// the number it begins with (+ 0). Owner: the apply thread.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "record/columns.h"
#include "store/expression.h"
#include "store/value.h"
#include "stream/state_store.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace weir::stream {

enum class Aggregate : std::uint8_t { count_star, count, sum, min, max, avg };

// Where a key or an argument comes from: a column of the stream as it is (fast path), or an expression.
struct Input {
    int column = -1;
    std::string sql;  // used when column < 0
};

struct TumbleKey {
    enum class Kind : std::uint8_t { window_start, window_end, input } kind = Kind::input;
    Input input;
};

struct TumbleAggregate {
    Aggregate kind = Aggregate::count_star;
    Input input;
};

struct TumblePlan {
    std::int64_t size_ms = 0;
    std::int64_t offset_ms = 0;
    std::int64_t lateness_ms = 0;
    std::int64_t delay_ms = 0;
    std::int32_t partitions = 1;
    std::string where_sql;  // empty: all
    std::vector<TumbleKey> keys;
    std::vector<TumbleAggregate> aggregates;
    std::uint64_t groups_max = 10'000'000;  // open groups; above: process() answers too_large and the view stops
    std::uint64_t cache_bytes = 64u << 20;  // groups in memory; clean ones beyond it are read back from the state store
};

// One run of records of one partition, in offset order: row rows[i] of `columns` has offset base_offset + i.
// A row whose columns.event_time_ms is record::event_time_is_append_time has the event time append_time_ms.
struct PartitionRows {
    PartitionNo partition = 0;
    std::int64_t base_offset = 0;
    const record::ColumnBatch* columns = nullptr;
    std::span<const std::uint32_t> rows;
    std::int64_t append_time_ms = 0;  // of the entry
};

struct LateRow {
    PartitionNo partition = 0;
    std::int64_t offset = 0;
    std::uint32_t row = 0;  // of the batch
    std::int64_t window_start_ms = 0;
    std::int64_t event_time_ms = 0;
};

struct ViewCounts {
    std::uint64_t seen = 0, filtered = 0, windowed = 0, late = 0;  // seen = filtered + windowed + late
};

struct PartitionWatermark {
    bool any = false;  // a record was seen
    std::int64_t max_event_time_ms = INT64_MIN;
    std::int64_t raised_ms = INT64_MIN;  // the highest that raise_watermark() asked for; INT64_MIN: never
};

class Tumble {
  public:
    // `prefix` begins this view's keys in the state store; what is there is loaded (watermarks, counts; groups lazily).
    // Errors: invalid_argument and forbidden from the expressions, corrupt.
    static Result<std::unique_ptr<Tumble>> open(const record::Schema& schema, TumblePlan plan, StateStore& state,
                                                std::string prefix);
    virtual ~Tumble() = default;

    // Late rows are appended to `late`. Errors: too_large (groups_max: nothing of the batch counted, nothing appended),
    // corrupt (state store; nothing counted either).
    virtual Status process(const PartitionRows& rows, std::vector<LateRow>& late) = 0;

    // A watermark that the log moved without a record (a tick for a partition without one, FLUSH, idleness): it never
    // falls, and what is at or below the present one changes nothing.
    virtual void raise_watermark(PartitionNo partition, std::int64_t watermark_ms) = 0;

    // Rows of groups that changed since the last call, sorted by encoded key: keys then aggregates, in plan order.
    // `encoded_key` sorts like (window_start, keys...) and is the row's identity. Values are valid inside the call
    // only. An error of on_row is passed on, and everything stays dirty.
    virtual Status take_dirty_rows(
        const std::function<Status(std::string_view encoded_key, const std::vector<store::Value>& row)>& on_row) = 0;
    virtual bool has_dirty_rows() const = 0;
    // Forgets what take_dirty_rows would say (replay below the rows' index).
    virtual void discard_dirty_rows() = 0;

    // What changed since the last checkpoint, as changes for the state store (dropped groups too). The changes count as
    // stored only when checkpoint_done() follows; until then their groups stay in memory, and the next collect says
    // them again. Between the two, process() goes on as usual. No commit may be under way (dropped windows are read
    // back). The rows must be taken, and be durable, before: a restart from this checkpoint does not make them again.
    virtual void collect_checkpoint(std::vector<StateChange>& changes) = 0;
    virtual void checkpoint_done() = 0;
    virtual std::uint64_t dirty_bytes() const = 0;  // state to write at the next checkpoint

    virtual ViewCounts counts() const = 0;
    virtual std::int64_t watermark_ms(PartitionNo partition) const = 0;  // INT64_MIN: none yet
    virtual const std::vector<PartitionWatermark>& partitions() const = 0;
    virtual std::int64_t least_watermark_ms() const = 0;  // over all partitions
    virtual std::uint64_t open_groups() const = 0;
    // Since the view's beginning, dropped ones too: the number of the view's rows. Kept in the state.
    virtual std::uint64_t groups_created() const = 0;
};

// The window's start for an event time, by floor division.
std::int64_t window_start(std::int64_t event_ms, std::int64_t size_ms, std::int64_t offset_ms);

}  // namespace weir::stream
