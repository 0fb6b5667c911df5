// TableSource as SQLite's virtual table: pushes comparisons down in a form that a source cannot misread, and lets
// SQLite check all of them again.
#include "store/table_source.h"

#include "store/database.h"
#include "store/detail/lexer.h"
#include "store/detail/source_module.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

namespace weir::store::detail {

namespace {

// What a column's values are, for handing comparisons down.
enum class Kind : unsigned char { whole, real, text, blob, other };

struct SourceTable : sqlite3_vtab {
    SourceRegistry* registry = nullptr;
    std::shared_ptr<TableSource> source;
    std::vector<Kind> kinds;
};

struct SourceCursor : sqlite3_vtab_cursor {
    std::unique_ptr<Scan> scan;
    bool at_end = true;
    std::int64_t row = 0;
};

SourceTable& table_of(sqlite3_vtab_cursor* cursor) {
    return *static_cast<SourceTable*>(cursor->pVtab);
}

Kind kind_of(std::string_view sql_type) {
    const std::string type = lower_ascii(sql_type);
    if (type == "integer" || type == "timestamp" || type == "boolean") return Kind::whole;
    if (type == "real") return Kind::real;
    if (type == "text" || type == "json") return Kind::text;
    if (type == "blob") return Kind::blob;
    return Kind::other;
}

int fail(SourceTable& table, Error error) {
    sqlite3_free(table.zErrMsg);
    table.zErrMsg = sqlite3_mprintf("%s", error.detail.c_str());
    table.registry->error = std::move(error);
    return SQLITE_ERROR;
}

// arguments: module, database, table, then those of USING.
int source_connect(sqlite3* db, void* user_data, int count, const char* const* arguments, sqlite3_vtab** out,
                   char** message) {
    auto* registry = static_cast<SourceRegistry*>(user_data);
    std::size_t index = 0;
    const char* text = count == 4 ? arguments[3] : "";
    const auto [end, error] = std::from_chars(text, text + std::strlen(text), index);
    if (error != std::errc() || *end != '\0' || index >= registry->sources.size()) {
        *message = sqlite3_mprintf("no such source");
        return SQLITE_ERROR;
    }
    auto table = std::make_unique<SourceTable>();
    table->registry = registry;
    table->source = registry->sources[index];
    std::string sql = "CREATE TABLE source(";
    bool is_first = true;
    for (const SourceColumn& column : table->source->columns()) {
        if (!is_first) sql += ", ";
        is_first = false;
        sql += quote_name(column.name) + " " + column.sql_type + (column.hidden ? " HIDDEN" : "");
        table->kinds.push_back(kind_of(column.sql_type));
    }
    sql += ")";
    const int code = sqlite3_declare_vtab(db, sql.c_str());
    if (code != SQLITE_OK) {
        *message = sqlite3_mprintf("%s", sqlite3_errmsg(db));
        return code;
    }
    // Readable from views too, although the schema is not trusted: a source only reads.
    sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
    *out = table.release();
    return SQLITE_OK;
}

int source_disconnect(sqlite3_vtab* table) {
    sqlite3_free(table->zErrMsg);
    table->zErrMsg = nullptr;
    delete static_cast<SourceTable*>(table);
    return SQLITE_OK;
}

std::optional<Comparison> comparison_of(unsigned char op) {
    switch (op) {
        case SQLITE_INDEX_CONSTRAINT_EQ:
            return Comparison::eq;
        case SQLITE_INDEX_CONSTRAINT_GT:
            return Comparison::gt;
        case SQLITE_INDEX_CONSTRAINT_GE:
            return Comparison::ge;
        case SQLITE_INDEX_CONSTRAINT_LT:
            return Comparison::lt;
        case SQLITE_INDEX_CONSTRAINT_LE:
            return Comparison::le;
        default:
            return std::nullopt;
    }
}

// The plan travels as text: the used columns as a mask, then "column,comparison" for each argument of xFilter.
int source_best_index(sqlite3_vtab* raw, sqlite3_index_info* plan) {
    const auto& table = *static_cast<SourceTable*>(raw);
    std::string text = std::to_string(plan->colUsed);
    double rows = std::max(1.0, static_cast<double>(table.source->estimated_rows()));
    int arguments = 0;
    for (int i = 0; i < plan->nConstraint; ++i) {
        const auto& constraint = plan->aConstraint[i];
        if (constraint.usable == 0 || constraint.iColumn < 0) continue;
        const auto op = comparison_of(constraint.op);
        if (!op || !table.source->can_prune(constraint.iColumn, *op)) continue;
        // Under NOCASE more texts are equal than a source knows.
        if (std::strcmp(sqlite3_vtab_collation(plan, i), "BINARY") != 0) continue;
        plan->aConstraintUsage[i].argvIndex = ++arguments;
        plan->aConstraintUsage[i].omit = 0;
        text += ";" + std::to_string(constraint.iColumn) + "," + std::to_string(static_cast<int>(*op));
        rows = std::max(1.0, rows / (*op == Comparison::eq ? 100.0 : 4.0));
    }
    plan->estimatedRows = static_cast<sqlite3_int64>(std::min(rows, 9e18));
    plan->estimatedCost = rows * 2.0;  // a decoded row costs more than one of SQLite's own
    plan->idxStr = sqlite3_mprintf("%s", text.c_str());
    plan->needToFreeIdxStr = 1;
    return plan->idxStr == nullptr ? SQLITE_NOMEM : SQLITE_OK;
}

// Makes a comparison fit the column's type without losing a row that SQLite would keep. Nothing: do not hand it down.
std::optional<Constraint> fit(Kind kind, int column, Comparison op, const Value& value) {
    constexpr double exact_max = 9007199254740992.0;  // 2^53
    switch (kind) {
        case Kind::whole:
            if (value.type == ValueType::integer) return Constraint{column, op, value};
            if (value.type != ValueType::real || !(std::fabs(value.real) < exact_max)) return std::nullopt;
            // c > 10.5 asks for more than c >= 10 gives; SQLite drops the rest.
            if (op == Comparison::gt || op == Comparison::ge) {
                return Constraint{column, Comparison::ge, Value::of(static_cast<std::int64_t>(std::floor(value.real)))};
            }
            if (op == Comparison::lt || op == Comparison::le) {
                return Constraint{column, Comparison::le, Value::of(static_cast<std::int64_t>(std::ceil(value.real)))};
            }
            if (std::floor(value.real) != value.real) return std::nullopt;
            return Constraint{column, op, Value::of(static_cast<std::int64_t>(value.real))};
        case Kind::real:
            if (value.type == ValueType::real) return Constraint{column, op, value};
            if (value.type != ValueType::integer) return std::nullopt;
            if (std::fabs(static_cast<double>(value.integer)) >= exact_max) return std::nullopt;
            return Constraint{column, op, Value::of(static_cast<double>(value.integer))};
        case Kind::text:
            if (value.type != ValueType::text) return std::nullopt;
            return Constraint{column, op, value};
        case Kind::blob:
            if (value.type != ValueType::blob) return std::nullopt;
            return Constraint{column, op, value};
        case Kind::other:
            return std::nullopt;
    }
    return std::nullopt;
}

int advance(SourceTable& table, SourceCursor& cursor) {
    Result<bool> more = cursor.scan->next();
    if (!more) return fail(table, std::move(more).error());
    cursor.at_end = !more.value();
    ++cursor.row;
    return SQLITE_OK;
}

int source_open(sqlite3_vtab*, sqlite3_vtab_cursor** out) {
    *out = new SourceCursor{};
    return SQLITE_OK;
}

int source_close(sqlite3_vtab_cursor* cursor) {
    delete static_cast<SourceCursor*>(cursor);
    return SQLITE_OK;
}

int source_filter(sqlite3_vtab_cursor* raw, int, const char* plan, int count, sqlite3_value** arguments) {
    auto& cursor = *static_cast<SourceCursor*>(raw);
    SourceTable& table = table_of(raw);
    cursor.scan.reset();
    cursor.at_end = true;
    cursor.row = 0;

    const char* at = plan;
    const char* end = plan + std::strlen(plan);
    std::uint64_t mask = 0;
    at = std::from_chars(at, end, mask).ptr;
    const std::size_t columns = table.kinds.size();
    std::vector<bool> used(columns);
    // The mask has one bit for every column from the 64th on.
    for (std::size_t c = 0; c < columns; ++c)
        used[c] = (mask >> std::min<std::size_t>(c, 63) & 1) != 0;

    std::vector<Constraint> constraints;
    for (int i = 0; i < count; ++i) {
        int column = 0;
        int op = 0;
        at = std::from_chars(at + 1, end, column).ptr;
        at = std::from_chars(at + 1, end, op).ptr;
        const Value value = value_of(arguments[i]);
        if (value.type == ValueType::null) return SQLITE_OK;  // no comparison with NULL is true: no rows
        const auto fitted =
            fit(table.kinds[static_cast<std::size_t>(column)], column, static_cast<Comparison>(op), value);
        if (fitted) constraints.push_back(*fitted);
    }
    auto scan = table.source->open_scan(used, constraints);
    if (!scan) return fail(table, std::move(scan).error());
    cursor.scan = std::move(scan).value();
    return advance(table, cursor);
}

int source_next(sqlite3_vtab_cursor* raw) {
    return advance(table_of(raw), *static_cast<SourceCursor*>(raw));
}

int source_eof(sqlite3_vtab_cursor* raw) {
    return static_cast<SourceCursor*>(raw)->at_end ? 1 : 0;
}

int source_column(sqlite3_vtab_cursor* raw, sqlite3_context* context, int index) {
    // Copied: SQLite may keep a value beyond the row (a group's first text), and takes STATIC at its word.
    set_result(context, static_cast<SourceCursor*>(raw)->scan->column(index), false);
    return SQLITE_OK;
}

int source_rowid(sqlite3_vtab_cursor* raw, sqlite3_int64* out) {
    *out = static_cast<SourceCursor*>(raw)->row;
    return SQLITE_OK;
}

constexpr sqlite3_module source_module = {
    1,
    source_connect,
    source_connect,
    source_best_index,
    source_disconnect,
    source_disconnect,
    source_open,
    source_close,
    source_filter,
    source_next,
    source_eof,
    source_column,
    source_rowid,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

}  // namespace

Status register_source_module(sqlite3* db, SourceRegistry* registry) {
    const int code = sqlite3_create_module_v2(db, "weir_source", &source_module, registry, nullptr);
    if (code != SQLITE_OK) return error_of(db, code, "register weir_source");
    return {};
}

}  // namespace weir::store::detail
