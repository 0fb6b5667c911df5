// A stream of test events, and a view driven the way apply drives it: batches in, rows into a table, checkpoints.
#pragma once

#include "stream/tumble.h"
#include "unit/store/batch_builder.h"

#include <catch2/catch_test_macros.hpp>

#include <bit>
#include <map>
#include <string>
#include <vector>

namespace weir::stream {

using record::ColumnType;
using store::show;
using store::Value;

inline Value n(std::int64_t v) {
    return Value::of(v);
}
inline Value t(std::string_view v) {
    return Value::of(v);
}

struct Event {
    PartitionNo partition = 0;
    std::int64_t time_ms = 0;
    std::vector<Value> values;  // of the schema's columns
};

// status INTEGER, bytes INTEGER, price REAL, path TEXT
inline const record::Schema& events_schema() {
    static const record::Schema schema = store::make_schema({{"status", ColumnType::integer},
                                                             {"bytes", ColumnType::integer},
                                                             {"price", ColumnType::real},
                                                             {"path", ColumnType::text}});
    return schema;
}

// Everything that anybody can see of a view.
struct Seen {
    std::map<std::string, std::string> table;                          // encoded key -> row, as SQLite would hold it
    std::map<std::pair<PartitionNo, std::int64_t>, std::string> late;  // partition, offset -> window, event time
    ViewCounts counts;
    std::vector<std::int64_t> watermarks;

    std::string rows() const {
        std::string out;
        for (const auto& [key, row] : table)
            out += (out.empty() ? "" : " | ") + row;
        return out;
    }
};

inline bool same(const Seen& a, const Seen& b) {
    return a.table == b.table && a.late == b.late && a.counts.seen == b.counts.seen &&
           a.counts.filtered == b.counts.filtered && a.counts.windowed == b.counts.windowed &&
           a.counts.late == b.counts.late && a.watermarks == b.watermarks;
}

class ViewRun {
  public:
    ViewRun(TumblePlan plan, StateStore& state) : plan_(std::move(plan)), state_(&state) { open(); }

    // As after a restart: a new view on what the store has. Rows stay, as SQLite's do.
    void open() {
        auto opened = Tumble::open(events_schema(), plan_, *state_, "v1/");
        INFO((opened ? "" : opened.error().detail));
        REQUIRE(opened);
        view = std::move(opened).value();
        pending.clear();
    }

    // Events [begin, end) of the log as one entry: a run for each partition. Offsets are positions in their partition.
    Status feed(const std::vector<Event>& log, std::size_t begin, std::size_t end, bool keep_late = true) {
        for (PartitionNo p = 0; p < plan_.partitions; ++p) {
            record::ColumnBatch batch;
            batch.reset(events_schema());
            std::int64_t base_offset = 0;
            for (std::size_t i = 0; i < begin; ++i)
                base_offset += log[i].partition == p ? 1 : 0;
            std::vector<std::uint32_t> rows;
            for (std::size_t i = begin; i < end; ++i) {
                if (log[i].partition != p) continue;
                // A row of noise in between: `rows` selects.
                if (i % 3 == 0) store::add_row(events_schema(), batch, {n(1), n(1)});
                store::add_row(events_schema(), batch, log[i].values);
                batch.event_time_ms.back() = log[i].time_ms;
                rows.push_back(static_cast<std::uint32_t>(batch.rows - 1));
            }
            std::vector<LateRow> late;
            TRY(view->process({p, base_offset, &batch, rows, append_ms}, late));
            for (const LateRow& row : late) {
                CHECK(batch.event_time_ms[row.row] == row.event_time_ms);
                if (keep_late) {
                    seen.late[{row.partition, row.offset}] =
                        std::to_string(row.window_start_ms) + " " + std::to_string(row.event_time_ms);
                }
            }
        }
        return {};
    }

    void take_rows() {
        REQUIRE(view->take_dirty_rows(
            [&](std::string_view key, const std::vector<Value>& row) -> Status {
                std::string text;
                for (const Value& value : row)
                    text += (text.empty() ? "" : ",") + show(value);
                written[std::string(key)].push_back(text);
                seen.table[std::string(key)] = text;
                return {};
            },
            [&](std::string_view key) -> Status {
                written[std::string(key)].push_back("gone");
                seen.table.erase(std::string(key));
                return {};
            }));
        CHECK_FALSE(view->has_dirty_rows());
    }

    void collect() {
        pending.clear();
        view->collect_checkpoint(pending);
    }
    void commit() {
        REQUIRE(state_->commit(pending));
        view->checkpoint_done();
        pending.clear();
    }

    Seen finish() {
        take_rows();
        seen.counts = view->counts();
        seen.watermarks.clear();
        for (PartitionNo p = 0; p < plan_.partitions; ++p)
            seen.watermarks.push_back(view->watermark_ms(p));
        return seen;
    }

    // What was written of each key, in order.
    std::string history() const {
        std::string out;
        for (const auto& [key, rows] : written) {
            out += out.empty() ? "" : " | ";
            for (const std::string& row : rows)
                out += (&row == rows.data() ? "" : " > ") + row;
        }
        return out;
    }

    std::unique_ptr<Tumble> view;
    std::vector<StateChange> pending;
    Seen seen;
    std::map<std::string, std::vector<std::string>> written;
    std::int64_t append_ms = 0;  // of the entries fed

  private:
    TumblePlan plan_;
    StateStore* state_;
};

// window_start, status | count(*), sum(bytes); windows of 1000 ms.
inline TumblePlan simple_plan() {
    TumblePlan plan;
    plan.size_ms = 1000;
    plan.keys = {{TumbleKey::Kind::window_start, {}}, {TumbleKey::Kind::input, {0, ""}}};
    plan.aggregates = {{Aggregate::count_star, {}}, {Aggregate::sum, {1, ""}}};
    return plan;
}

}  // namespace weir::stream
