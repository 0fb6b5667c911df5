// Statements as plain values. parse() knows the clauses; expressions stay text that store::Expression and SQLite
// evaluate.
#pragma once

#include "base/result.h"
#include "record/schema.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace weir::sql {

// schema.lenient has a clause of its own, LENIENT, which canonical() writes for undeclared streams; people need not.
struct CreateStream {
    std::string name;
    bool if_not_exists = false;
    bool or_replace = false;  // not together with if_not_exists
    record::Schema schema;
    std::int64_t retain_ms = 7LL * 86'400'000;
    std::int64_t retain_bytes = -1;  // MAX, -1: none
    // Of each column: where the expression of its CHECK begins in the statement that was parsed, -1: it has none.
    std::vector<std::int64_t> check_positions;
    std::vector<std::int64_t> default_positions;  // the same of its DEFAULT
};

enum class AggregateKind : std::uint8_t { count_star, count, sum, min, max, avg, count_distinct, first, last };

// One item of the view's SELECT list, in order.
struct ViewItem {
    std::string name;  // alias or the text
    bool is_aggregate = false;
    int key = -1;  // index into CreateView::keys
    AggregateKind aggregate = AggregateKind::count_star;
    std::string argument_sql;  // of the aggregate
};

// One GROUP BY term.
struct ViewKey {
    std::string name;  // column name in the view
    enum class Kind : std::uint8_t { window_start, window_end, expression } kind = Kind::expression;
    std::string sql;  // expression text over the stream's columns
};

// A piece of HAVING: text, or what stands for a value of the row.
struct HavingPiece {
    std::string text;    // where neither of the others is set
    int key = -1;        // index into CreateView::keys
    int aggregate = -1;  // index into the aggregates of items, in order, then CreateView::having_aggregates
};

enum class EmitMode : std::uint8_t { changes, final_only };

struct CreateView {
    std::string name;
    bool if_not_exists = false;
    bool or_replace = false;  // not together with if_not_exists
    std::string stream;
    std::int64_t window_ms = 0;  // TUMBLE(stream, size)
    std::int64_t window_offset_ms = 0;
    std::vector<ViewItem> items;
    std::vector<ViewKey> keys;  // must hold window_start or window_end
    std::string where_sql;
    std::string having_sql;  // as written; names of items, GROUP BY terms and aggregates. Empty: every row
    std::vector<HavingPiece> having;
    std::vector<ViewItem> having_aggregates;  // that HAVING asks for and no item has
    std::int64_t lateness_ms = 0;
    EmitMode emit = EmitMode::changes;
    std::int64_t emit_every_ms = 0;  // of changes; 0: at once
    bool from_now = false;           // FROM NOW: what the stream held before the view is not in it
};

struct DropObject {
    bool is_view = false;  // DROP STREAM / DROP MATERIALIZED VIEW (DROP VIEW too)
    std::string name;
    bool if_exists = false;
    bool cascade = false;  // what depends on it goes too
};

// What changes of a stream; the rest stays. Positions are bytes of the statement.
struct AlterStream {
    struct NewColumn {
        record::Column column;
        bool if_not_exists = false;
        std::int64_t position = -1, check_position = -1, default_position = -1;
    };
    struct Setting {
        std::int64_t value = 0;
        std::int64_t position = -1;
    };
    std::string name;
    bool if_exists = false;
    std::vector<NewColumn> columns;
    std::optional<Setting> retain_ms;
    std::optional<Setting> retain_bytes;  // -1: no MAX
    std::optional<Setting> delay_ms;
    std::optional<Setting> max_future_ms;
    std::optional<Setting> idle_after_ms;  // -1: never
    std::optional<Setting> dedup_within_ms;
};

struct FlushView {
    std::string name;
};

struct Show {
    enum class What : std::uint8_t { streams, views, watermarks } what = What::streams;
};

struct Select {
    std::string text;  // SELECT, WITH, VALUES; EXPLAIN and EXPLAIN QUERY PLAN before one; EXPLAIN VIEW name
};

using Statement = std::variant<CreateStream, CreateView, AlterStream, DropObject, FlushView, Show, Select>;

// One statement, a trailing ';' allowed. Errors: invalid_argument with position and what was expected; unsupported for
// statements of the contract that are not built, named.
Result<Statement> parse(std::string_view text);

// Cuts a script at its ';' (outside of quotes and comments). Blank statements are left out.
std::vector<std::string> split_statements(std::string_view script);

// The statement again, canonical: what the log's entry carries. parse(canonical(x)) == x in meaning.
std::string canonical(const CreateStream& statement);
std::string canonical(const CreateView& statement);
// The same without IF NOT EXISTS and OR REPLACE: what is defined, not when.
std::string definition(CreateStream statement);
std::string definition(CreateView statement);

// The definition that ALTER makes of `present`; columns go behind those that there are. Its check_positions and
// default_positions are of the ALTER's text. Errors: invalid_argument with position, too_large.
Result<CreateStream> altered(CreateStream present, const AlterStream& statement);

// Whether a stream of the one definition may have the other from an entry on: its events are read through both alike,
// its identity (partitions, keys, event time) stays. Errors: conflict, says which part may not change and why.
Status check_change(const CreateStream& from, const CreateStream& to);
// Why the other definition would lose events that the one keeps (a shorter RETAIN, a lower MAX); empty: it does not.
std::string loss_text(const CreateStream& from, const CreateStream& to);

// The query over the system tables that SHOW stands for.
std::string show_sql(const Show& statement);

// Why DROP STREAM does nothing while these views read the stream, and what to do. `views` not empty.
std::string depends_text(const std::string& stream, std::vector<std::string> views);

// A stream name, view name: [A-Za-z_][A-Za-z0-9_.-]{0,248}. Names of tables that come by themselves (sys, sys.*,
// sqlite_*, *_dead_letters, *_late) are refused too. Errors: invalid_argument, says what is wrong.
Status check_name(std::string_view name);

}  // namespace weir::sql
