// The row commit: one SQLite transaction with view rows, late rows, log ends, counters and the applied index.
#include "apply/applier.h"
#include "apply/detail/build.h"
#include "apply/detail/state.h"
#include "apply/tables.h"
#include "base/check.h"

#include <utility>

namespace weir::apply {
namespace {

using store::Value;

Value number(std::int64_t v) {
    return Value::of(v);
}
Value number(std::uint64_t v) {
    return Value::of(static_cast<std::int64_t>(v));
}

}  // namespace

Status Applier::commit_rows(bool durable) {
    TRY(flush_logs());
    // SQLite may hold this index from before a restart, and not durably: a checkpoint must sync it all the same.
    const bool writes = writes_rows() || (durable && applied_ == rows_index_);
    if (writes && (unsettled_ || durable || !row_changes_.empty())) {
        auto written = write_rows();
        if (!written) {
            if (in_transaction_) database_->rollback();
            in_transaction_ = false;
            return written;
        }
        in_transaction_ = false;
        TRY(database_->commit(durable));
        counters_.row_commits.fetch_add(1, std::memory_order_relaxed);
        visible_ = applied_.value;
    } else if (!writes) {
        // Replay below SQLite's index: it has these rows. Nothing of this is news to readers, and nobody reads before
        // recovered_ anyway.
        for (auto* stream : touched_) {
            stream->touched = false;
            stream->touched_partitions.clear();
            for (auto* view : stream->views) {
                if (view->tumble && !view->build) view->tumble->discard_dirty_rows();
            }
        }
        touched_.clear();
        visible_ = applied_.value;
    }
    unsettled_ = false;
    if (definitions_changed_ && recovered_) publish_definitions();
    auto answers = std::move(answers_);
    answers_.clear();
    for (auto& [index, list] : answers) {
        for (auto& [done, status] : list)
            done(index, std::move(status));
    }
    if (recovered_) {
        outputs_.applied(applied_);
        changes_.tell(applied_);
    }
    return {};
}

// Opens the transaction, definitions first: what follows may need their tables.
Status Applier::begin_rows() {
    if (!in_transaction_) TRY(database_->begin());
    in_transaction_ = true;
    for (const auto& change : row_changes_)
        TRY(change());
    row_changes_.clear();
    return {};
}

Status Applier::write_rows() {
    TRY(spill_late());
    for (auto* stream : touched_) {
        TRY(write_stream_rows(*stream));
        changes_.stream(stream->def->id);
        tell_needs(*stream);
    }
    touched_.clear();
    for (auto& [id, view] : views_) {
        if (view->touched) TRY(write_view_rows(*view));
    }
    put_applied_->bind(1, number(applied_.value));
    put_applied_->bind(2, number(last_append_ms_ == INT64_MIN ? std::int64_t{0} : last_append_ms_));
    TRY(put_applied_->step());
    return {};
}

// Late rows into the open transaction. They are seen with the row commit that closes it, like everything else.
Status Applier::spill_late() {
    TRY(begin_rows());
    for (const auto& row : late_) {
        auto& view = *row.view;
        if (!view.put_late) {
            view.put_late = TRY(database_->prepare("INSERT OR REPLACE INTO " + store::quote_name(late_table(view.id)) +
                                                   " VALUES (?1, ?2, ?3, ?4, ?5)"));
        }
        view.put_late->bind(1, number(std::int64_t{row.partition}));
        view.put_late->bind(2, number(row.offset));
        view.put_late->bind(3, number(row.window_start_ms));
        view.put_late->bind(4, number(row.event_time_ms));
        view.put_late->bind(5, Value::of(std::string_view(row.raw)));
        TRY(view.put_late->step());
    }
    late_.clear();
    late_bytes_ = 0;
    return {};
}

Status Applier::write_stream_rows(Stream& stream) {
    const auto id = stream.def->id.packed();
    for (const auto p : stream.touched_partitions) {
        auto& log = stream.partition(p);
        const auto& segments = log.state().segments;
        put_ends_->bind(1, number(id));
        put_ends_->bind(2, number(std::int64_t{p}));
        put_ends_->bind(3, number(log.start_offset()));
        put_ends_->bind(4, number(log.end_offset()));
        put_ends_->bind(5, number(segments.empty() ? std::int64_t{0} : segments.back().base_offset));
        put_ends_->bind(6, number(segments.empty() ? std::uint64_t{0} : segments.back().log_bytes));
        put_ends_->bind(7, number(log.bytes()));
        TRY(put_ends_->step());
    }
    stream.touched_partitions.clear();
    const std::string journal = stream.journal->state().encode();
    put_journal_->bind(1, number(id));
    put_journal_->bind(2, Value::of_blob(journal));
    TRY(put_journal_->step());
    put_counters_->bind(1, number(id));
    put_counters_->bind(2, number(stream.counters.stored));
    put_counters_->bind(3, number(stream.counters.duplicate));
    put_counters_->bind(4, number(stream.counters.dead_lettered));
    put_counters_->bind(5, number(stream.counters.refused));
    TRY(put_counters_->step());
    stream.touched = false;
    return {};
}

Status Applier::write_windows(View& view) {
    const std::int64_t size_ms = view.plan.tumble.size_ms;
    return view.tumble->take_changed_windows([&](std::int64_t start_ms, std::uint64_t groups) -> Status {
        store::Statement& statement = groups > 0 ? *put_window_ : *delete_window_;
        statement.bind(1, number(view.id.packed()));
        statement.bind(2, number(start_ms));
        if (groups > 0) {
            statement.bind(3, number(start_ms > INT64_MAX - size_ms ? INT64_MAX : start_ms + size_ms));
            statement.bind(4, number(groups));
        }
        TRY(statement.step());
        return {};
    });
}

Status Applier::write_view_rows(View& view) {
    view.touched = false;
    if (view.tumble && view.tumble->has_dirty_rows()) {
        if (!view.put_row) {
            std::string names = "_k", values = "?1", updates;
            for (std::size_t i = 0; i < view.plan.columns.size(); i++) {
                const std::string column = "c" + std::to_string(i);
                names += ", " + column;
                values += ", ?" + std::to_string(i + 2);
                updates += (i > 0 ? ", " : "") + column + " = excluded." + column;
            }
            view.put_row =
                TRY(database_->prepare("INSERT INTO " + store::quote_name(view_table(view.id)) + "(" + names +
                                       ") VALUES (" + values + ") ON CONFLICT DO UPDATE SET " + updates));
        }
        if (!view.delete_row) {
            view.delete_row =
                TRY(database_->prepare("DELETE FROM " + store::quote_name(view_table(view.id)) + " WHERE _k = ?1"));
        }
        const bool watched = changes_.wants(view.id);
        std::string noted;  // a row may come twice in a row: as it became final, and corrected
        auto note = [&](std::string_view key) {
            if (!watched || key == noted) return;
            changes_.row(view.id, key);
            noted = std::string(key);
        };
        auto on_row = [&](std::string_view key, const std::vector<Value>& row) -> Status {
            note(key);
            view.put_row->bind(1, Value::of_blob(key));
            for (std::size_t i = 0; i < view.plan.columns.size(); i++) {
                view.put_row->bind(static_cast<int>(i) + 2, row.at(view.plan.columns[i].slot));
            }
            TRY(view.put_row->step());
            counters_.rows.fetch_add(1, std::memory_order_relaxed);
            return {};
        };
        auto on_gone = [&](std::string_view key) -> Status {
            note(key);
            view.delete_row->bind(1, Value::of_blob(key));
            TRY(view.delete_row->step());
            return {};
        };
        TRY(view.tumble->take_dirty_rows(on_row, on_gone));
    }
    if (view.tumble) {
        const auto counts = view.tumble->counts();
        put_view_->bind(1, number(view.id.packed()));
        put_view_->bind(2, view.plan.row_per_group ? number(view.tumble->groups_created()) : Value::null());
        put_view_->bind(3, number(counts.seen));
        put_view_->bind(4, number(counts.filtered));
        put_view_->bind(5, number(counts.windowed));
        put_view_->bind(6, number(counts.late));
        put_view_->bind(7, number(view.tumble->open_groups()));
        TRY(put_view_->step());
        const auto& partitions = view.tumble->partitions();
        const Stream& stream = *streams_.at(view.stream);
        auto idle = [&stream](PartitionNo p) {
            return is_idle(stream.arrivals, p, stream.def->schema.idle_after_ms, stream.last_tick_ms);
        };
        for (std::size_t p = 0; p < partitions.size(); p++) {
            put_watermark_->bind(1, number(view.id.packed()));
            put_watermark_->bind(2, number(static_cast<std::int64_t>(p)));
            const std::int64_t watermark_ms = view.tumble->watermark_ms(static_cast<PartitionNo>(p));
            put_watermark_->bind(3, watermark_ms == INT64_MIN ? Value::null() : number(watermark_ms));
            put_watermark_->bind(4, partitions[p].any ? number(partitions[p].max_event_time_ms) : Value::null());
            put_watermark_->bind(5, number(std::int64_t{idle(static_cast<PartitionNo>(p)) ? 1 : 0}));
            TRY(put_watermark_->step());
        }
        TRY(write_windows(view));
    }
    if (view.state_changed) {
        view.state_changed = false;
        auto update = TRY(database_->prepare("UPDATE _objects SET state = ?2, progress = ?3 WHERE id = ?1"));
        update->bind(1, number(view.id.packed()));
        update->bind(2, Value::of(std::string_view(view.state)));
        update->bind(3, Value::of(view.build ? view.build->progress(*streams_.at(view.stream)) : 1.0));
        TRY(update->step());
    }
    return {};
}

Result<std::string> Applier::digest() {
    TRY(commit_rows(false));
    std::string all;
    auto add_table = [&](const std::string& sql) -> Status {
        auto rows = TRY(database_->prepare(sql));
        all += sql + "\n";
        while (TRY(rows->step())) {
            for (int c = 0; c < rows->columns(); c++) {
                const auto value = rows->column(c);
                all += std::to_string(static_cast<int>(value.type)) + ":" + std::to_string(value.integer) + ":" +
                       std::to_string(value.real) + ":" + std::string(value.text) + "|";
            }
            all += "\n";
        }
        return {};
    };
    TRY(add_table("SELECT idx, append_time FROM _applied"));
    // A view that is being built stands where this replica's build is: it counts from the entry "view live" on.
    TRY(add_table("SELECT id, kind, name, stream, version, statement, created_at, state FROM _objects ORDER BY id"));
    TRY(add_table("SELECT * FROM _ends ORDER BY stream, partition"));
    TRY(add_table("SELECT * FROM _journals ORDER BY stream"));
    TRY(add_table("SELECT * FROM _counters ORDER BY stream"));
    const std::string live = " WHERE view IN (SELECT id FROM _objects WHERE state <> 'building') ";
    TRY(add_table("SELECT * FROM _views" + live + "ORDER BY view"));
    TRY(add_table("SELECT * FROM _watermarks" + live + "ORDER BY view, partition"));
    TRY(add_table("SELECT * FROM _windows" + live + "ORDER BY view, window_start"));
    for (const auto& [id, view] : views_) {
        if (view->build) continue;
        TRY(add_table("SELECT * FROM " + store::quote_name(view_table(id)) + " ORDER BY _k"));
        TRY(add_table("SELECT * FROM " + store::quote_name(late_table(id)) + " ORDER BY 1, 2, 3"));
    }
    return all;
}

}  // namespace weir::apply
