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
// the number it begins with (+ 0). count(DISTINCT x) is exact. first(x) and last(x) go by (event time, partition,
// offset) and leave NULLs out, as all aggregates do.
//
// When rows are written (the log decides it, never a clock or a batch's size):
//   EMIT CHANGES          a group's row when the group changed
//   EMIT CHANGES EVERY d  append time is cut at the multiples of d. When an entry comes that lies behind a cut, the
//   rows
//                         become due as the cut found them. A window whose state goes has its last rows due at once.
//   EMIT FINAL            a window's rows become due when the least watermark has passed its end, each with what every
//                         partition had accepted up to its own close; what LATENESS lets in later corrects them. A
//                         group that only such rows made comes as a correction. Nothing else is written of a window
//                         before that.
// HAVING is asked of a row when it is written. One that does not satisfy it is gone from the view, and comes back when
// it does. Owner: the apply thread.
#pragma once

#include "base/ids.h"
#include "base/limits.h"
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

// Numbers stand in stored state: new ones come last.
enum class Aggregate : std::uint8_t { count_star, count, sum, min, max, avg, count_distinct, first, last };

enum class Emit : std::uint8_t { changes, final_rows };

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
    std::string having_sql;  // over row_term()s; empty: all
    Emit emit = Emit::changes;
    std::int64_t emit_every_ms = 0;  // of changes; 0: at once
    // Above one of these process() answers too_large and the view stops.
    std::uint64_t groups_max = limits::open_groups_max;            // open groups
    std::uint64_t distinct_max = limits::distinct_values_max;      // values of count(DISTINCT) in all of them
    std::uint64_t state_bytes_max = limits::view_state_bytes_max;  // of groups and values, in memory or not
    // Groups and values in memory; clean ones beyond it are read back from the state store.
    std::uint64_t cache_bytes = limits::view_cache_bytes;
};

// How HAVING writes the value in a slot of the row (keys, then aggregates), as SQL over what the operator gives it.
std::string row_term(const record::Schema& schema, const TumblePlan& plan, std::size_t slot);
// Errors: invalid_argument and forbidden from the expression.
Status check_having(const record::Schema& schema, const TumblePlan& plan);

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

// A row as the view's table is to have it: keys then aggregates, in plan order. `encoded_key` sorts like (window_start,
// keys...) and is the row's identity. Values are valid inside the call only.
using OnRow = std::function<Status(std::string_view encoded_key, const std::vector<store::Value>& row)>;
// The table is to have no row under this key; it may have none.
using OnGone = std::function<Status(std::string_view encoded_key)>;

class Tumble {
  public:
    // `prefix` begins this view's keys in the state store; what is there is loaded (watermarks, counts; groups lazily).
    // Errors: invalid_argument and forbidden from the expressions, corrupt.
    static Result<std::unique_ptr<Tumble>> open(const record::Schema& schema, TumblePlan plan, StateStore& state,
                                                std::string prefix);
    virtual ~Tumble() = default;

    // Late rows are appended to `late`. Append times never go back. Errors: too_large (a bound of the plan: nothing of
    // the batch counted, nothing appended), corrupt (state store; nothing counted either).
    virtual Status process(const PartitionRows& rows, std::vector<LateRow>& late) = 0;

    // A watermark that the log moved without a record (a tick for a partition without one, FLUSH, idleness): it never
    // falls, and what is at or below the present one changes nothing.
    virtual void raise_watermark(PartitionNo partition, std::int64_t watermark_ms) = 0;

    // DELAY is another from here on. No watermark falls; a smaller DELAY raises them at once.
    virtual void set_delay(std::int64_t delay_ms) = 0;

    // The log came to this append time without a record of the stream (process() says its own). True: rows that EMIT
    // CHANGES EVERY held back became due.
    virtual bool on_append_time(std::int64_t append_ms) = 0;
    // The append time at which rows that are held back become due; INT64_MAX: none is.
    virtual std::int64_t rows_due_at_ms() const = 0;
    // Whatever EVERY holds back becomes due: a view that has caught up shows what it was made from.
    virtual void release_rows() = 0;

    // The rows that are due since the last call. A group may come twice, as EMIT FINAL made it and as it was corrected;
    // the later call holds. Mostly in the order of keys. An error of on_row or on_gone is passed on, and everything
    // stays due. Errors: corrupt, io.
    virtual Status take_dirty_rows(const OnRow& on_row, const OnGone& on_gone) = 0;
    virtual bool has_dirty_rows() const = 0;
    // Windows whose number of groups changed since the last call, or that have state no more (0 groups), in order. An
    // error of on_window is passed on, and what it was not told of is told again.
    virtual Status take_changed_windows(
        const std::function<Status(std::int64_t start_ms, std::uint64_t groups)>& on_window) = 0;
    // Forgets what the two above would say (replay below the rows' index).
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
    virtual std::uint64_t distinct_values() const = 0;  // of open groups
    virtual std::uint64_t state_bytes() const = 0;      // of groups and values, in memory or not
    // Since the view's beginning, dropped ones too: without HAVING, FINAL and EVERY the number of the view's rows. Kept
    // in the state.
    virtual std::uint64_t groups_created() const = 0;
};

// The window's start for an event time, by floor division.
std::int64_t window_start(std::int64_t event_ms, std::int64_t size_ms, std::int64_t offset_ms);

}  // namespace weir::stream
