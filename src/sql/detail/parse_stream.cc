#include "sql/detail/parse_stream.h"

#include "base/limits.h"
#include "record/path.h"
#include "record/time.h"

#include <algorithm>
#include <array>

namespace weir::sql {
namespace {

constexpr std::array<std::string_view, 6> hidden_columns = {"_partition", "_offset",  "_append_time",
                                                            "_key",       "_headers", "_value"};

constexpr std::array<record::ColumnType, 7> types = {
    record::ColumnType::text,      record::ColumnType::integer, record::ColumnType::real, record::ColumnType::boolean,
    record::ColumnType::timestamp, record::ColumnType::json,    record::ColumnType::blob};

// What other databases call them.
constexpr std::array<std::pair<std::string_view, std::string_view>, 14> foreign_types = {{
    {"int", "INTEGER"},
    {"bigint", "INTEGER"},
    {"smallint", "INTEGER"},
    {"long", "INTEGER"},
    {"int64", "INTEGER"},
    {"varchar", "TEXT"},
    {"string", "TEXT"},
    {"char", "TEXT"},
    {"double", "REAL"},
    {"float", "REAL"},
    {"bool", "BOOLEAN"},
    {"datetime", "TIMESTAMP"},
    {"timestamptz", "TIMESTAMP"},
    {"jsonb", "JSON"},
}};

// A clause and the tokens of its columns: names are resolved when the whole column list is known, for EVENT TIME may
// stand before its column.
struct ColumnReference {
    std::string name;
    std::size_t token = 0;
};

class StreamParser {
  public:
    explicit StreamParser(Cursor& cursor) : cursor_(cursor) {}

    Result<CreateStream> parse() {
        TRY(parse_new_name(cursor_, "STREAM", stream_.name, stream_.if_not_exists));
        TRY(cursor_.expect_op("(", "the stream's name"));
        do {
            TRY(item());
        } while (cursor_.accept_op(","));
        if (!cursor_.accept_op(")"))
            return cursor_.unexpected({"',' or ')' after a column", "FROM", "NOT NULL", "CHECK"});
        while (true) {
            if (!TRY(clause())) break;
        }
        TRY(resolve());
        return std::move(stream_);
    }

    Result<AlterStream::NewColumn> one_column() {
        TRY(column());
        AlterStream::NewColumn made;
        made.column = std::move(schema().columns.back());
        made.default_position = stream_.default_positions.back();
        made.check_position = check_position_;
        return made;
    }

  private:
    record::Schema& schema() { return stream_.schema; }

    // One thing between the parentheses.
    Status item() {
        if (cursor_.sees({"EVENT", "TIME"}) || cursor_.sees({"DEDUP", "KEY"})) {
            TRY(clause());
            return {};
        }
        return column();
    }

    Status column() {
        const Token& where = cursor_.peek();
        record::Column column;
        column.name = TRY(cursor_.name("a column, EVENT TIME or DEDUP KEY"));
        TRY(check_column_name(where, column.name));
        column.type = TRY(type(column.name));
        bool has_path = false, has_check = false;
        std::int64_t default_position = -1;
        while (true) {
            const Token& at = cursor_.peek();
            if (cursor_.accept({"FROM"})) {
                if (has_path) return cursor_.error(at, "column " + column.name + " has a second FROM");
                has_path = true;
                TRY(path(column));
            } else if (cursor_.accept({"NOT", "NULL"})) {
                column.not_null = true;
            } else if (cursor_.accept({"NULL"})) {
                // what a column is anyway
            } else if (cursor_.accept({"CHECK"})) {
                if (has_check)
                    return cursor_.error(at, "column " + column.name + " has a second CHECK; join them with AND");
                has_check = true;
                const TokenSpan span = TRY(cursor_.parenthesised("CHECK"));
                if (span.empty()) return cursor_.error(at, "CHECK () holds no expression");
                column.check_sql = cursor_.text(span);
                check_position_ = static_cast<std::int64_t>(cursor_.token(span.first).position);
            } else if (cursor_.accept({"DEFAULT"})) {
                if (default_position >= 0) return cursor_.error(at, "column " + column.name + " has a second DEFAULT");
                default_position = static_cast<std::int64_t>(cursor_.peek().position);
                column.default_sql = TRY(default_value());
            } else if (cursor_.sees({"PRIMARY"}) || cursor_.sees({"UNIQUE"})) {
                return cursor_.unsupported(at,
                                           "PRIMARY KEY and UNIQUE: use DEDUP KEY (...) WITHIN d, which drops repeats");
            } else {
                break;
            }
        }
        if (!has_path) {
            column.path = {default_path_step(column.name)};
            column.path_text = default_path_text(column.name);
        }
        if (schema().columns.size() == limits::columns_max) {
            return cursor_.error(where, "a stream has at most " + std::to_string(limits::columns_max) + " columns");
        }
        schema().columns.push_back(std::move(column));
        stream_.default_positions.push_back(default_position);
        return {};
    }

    // A literal with or without a sign, or an expression in parentheses, as in SQLite.
    Result<std::string> default_value() {
        const Token& first = cursor_.peek();
        if (first.is("(")) {
            const TokenSpan span = TRY(cursor_.parenthesised("DEFAULT"));
            if (span.empty()) return cursor_.error(first, "DEFAULT () holds no expression");
            return cursor_.text(span);
        }
        TokenSpan span{cursor_.at(), cursor_.at()};
        const bool is_signed = cursor_.accept_op("-") || cursor_.accept_op("+");
        const Token& value = cursor_.peek();
        const bool is_word = value.is_word("TRUE") || value.is_word("FALSE") || value.is_word("NULL");
        if (value.kind != TokenKind::number &&
            (is_signed || (value.kind != TokenKind::string && value.kind != TokenKind::blob && !is_word))) {
            return cursor_.error(value, place_of(value) +
                                            ": expected a value after DEFAULT: a number, 'text', x'00ff', TRUE, FALSE, "
                                            "NULL, or an expression in parentheses");
        }
        cursor_.advance();
        span.last = cursor_.at();
        return cursor_.text(span);
    }

    Status check_column_name(const Token& where, const std::string& name) {
        if (name.size() > limits::name_bytes_max) {
            return cursor_.error(where,
                                 "a column's name has at most " + std::to_string(limits::name_bytes_max) + " bytes");
        }
        for (const std::string_view hidden : hidden_columns) {
            if (same_word(name, hidden))
                return cursor_.error(where, "the name " + std::string(hidden) + " is reserved: every stream has it");
        }
        for (const record::Column& other : schema().columns) {
            if (same_word(name, other.name))
                return cursor_.error(where, "there is a column " + other.name + " already");
        }
        return {};
    }

    Result<record::ColumnType> type(const std::string& column) {
        const Token& token = cursor_.peek();
        const std::string all = "TEXT, INTEGER, REAL, BOOLEAN, TIMESTAMP, JSON or BLOB";
        if (token.kind != TokenKind::word) {
            return cursor_.error(token, place_of(token) + ": expected the type of column " + column + ": " + all);
        }
        std::vector<std::string_view> names;
        for (const record::ColumnType candidate : types) {
            if (token.is_word(record::type_name(candidate))) {
                cursor_.advance();
                return candidate;
            }
            names.push_back(record::type_name(candidate));
        }
        std::string_view near = nearest_word(token.text, names);
        for (const auto& [foreign, ours] : foreign_types) {
            if (token.is_word(foreign)) near = ours;
        }
        std::string detail = place_of(token) + ": expected the type of column " + column + ": " + all;
        if (!near.empty()) detail += "; did you mean " + std::string(near) + "?";
        return cursor_.error(token, std::move(detail));
    }

    Status path(record::Column& column) {
        const Token& token = cursor_.peek();
        if (token.kind != TokenKind::string) {
            return cursor_.error(
                token, place_of(token) + ": expected a JSON path in quotes after FROM, such as '$.properties.status'");
        }
        column.path_text = token_value(token);
        auto steps = record::parse_path(column.path_text);
        if (!steps) {
            Error problem = std::move(steps).error();
            // The inner position counts from behind the opening quote; a doubled quote before it shifts it by little.
            const std::int64_t inner = problem.position < 0 ? 0 : 1 + problem.position;
            problem.position = static_cast<std::int64_t>(token.position) + inner;
            problem.detail = "path of column " + column.name + ": " + problem.detail;
            return problem;
        }
        column.path = std::move(steps).value();
        cursor_.advance();
        return {};
    }

    // One clause behind the column list (EVENT TIME and DEDUP KEY: or in it). False: none stands here.
    Result<bool> clause() {
        const Token& where = cursor_.peek();
        if (cursor_.accept({"EVENT", "TIME"}))
            return done(once(where, has_event_time_, "EVENT TIME"), &StreamParser::event_time);
        if (cursor_.accept({"DEDUP", "KEY"})) return done(once(where, has_dedup_, "DEDUP KEY"), &StreamParser::dedup);
        if (cursor_.accept({"PARTITIONS"}))
            return done(once(where, has_partitions_, "PARTITIONS"), &StreamParser::partitions);
        if (cursor_.accept({"RETAIN"})) return done(once(where, has_retain_, "RETAIN"), &StreamParser::retain);
        if (cursor_.accept({"ON"})) return done(once(where, has_on_error_, "ON ERROR"), &StreamParser::on_error);
        if (cursor_.accept({"LENIENT"})) {
            schema().lenient = true;
            return true;
        }
        if (where.kind == TokenKind::end || where.is(";")) return false;
        return cursor_.unexpected(
            {"EVENT", "DEDUP", "PARTITIONS", "RETAIN", "ON ERROR", "or the end of the statement"});
    }

    Status once(const Token& where, bool& has, std::string_view name) {
        if (has) return cursor_.error(where, std::string(name) + " stands twice");
        has = true;
        return {};
    }

    Result<bool> done(Status first, Status (StreamParser::*rest)()) {
        TRY(std::move(first));
        TRY((this->*rest)());
        return true;
    }

    Result<ColumnReference> reference(std::string_view what) {
        ColumnReference found;
        found.token = cursor_.at();
        found.name = TRY(cursor_.name(what));
        return found;
    }

    Status event_time() {
        event_time_ = TRY(reference("a TIMESTAMP column after EVENT TIME"));
        bool has_delay = false, has_future = false, has_idle = false;
        while (true) {
            const Token& where = cursor_.peek();
            if (cursor_.accept({"DELAY"})) {
                TRY(once(where, has_delay, "DELAY"));
                schema().delay_ms = TRY(cursor_.duration("DELAY"));
            } else if (cursor_.accept({"MAX"})) {
                TRY(cursor_.expect({"FUTURE"}));
                TRY(once(where, has_future, "MAX FUTURE"));
                schema().max_future_ms = TRY(cursor_.duration("MAX FUTURE"));
            } else if (cursor_.accept({"IDLE"})) {
                TRY(cursor_.expect({"AFTER"}));
                TRY(once(where, has_idle, "IDLE AFTER"));
                schema().idle_after_ms = TRY(cursor_.duration("IDLE AFTER"));
            } else {
                return follows({"DELAY", "MAX", "IDLE"});
            }
        }
    }

    // A word behind a clause that begins none of those that may follow is most likely a slip in one of `optional`.
    Status follows(const std::vector<std::string_view>& optional) {
        const Token& token = cursor_.peek();
        if (token.kind != TokenKind::word) return {};
        for (const std::string_view word : {"EVENT", "DEDUP", "PARTITIONS", "RETAIN", "ON", "LENIENT"}) {
            if (token.is_word(word)) return {};
        }
        const std::string_view near = nearest_word(token.text, optional);
        if (near.empty()) return {};
        return cursor_.error(token, place_of(token) + ": did you mean " + std::string(near) + "?");
    }

    Status dedup() {
        TRY(cursor_.expect_op("(", "DEDUP KEY"));
        do {
            dedup_key_.push_back(TRY(reference("a column in DEDUP KEY")));
        } while (cursor_.accept_op(","));
        TRY(cursor_.expect_op(")", "the columns of DEDUP KEY"));
        if (!cursor_.sees({"WITHIN"})) {
            Error missing = cursor_.unexpected({"WITHIN"});
            missing.detail += " (how long a key is remembered, such as WITHIN 24h)";
            return missing;
        }
        cursor_.advance();
        within_token_ = cursor_.at();
        schema().dedup_within_ms = TRY(cursor_.duration("WITHIN"));
        if (schema().dedup_within_ms == 0)
            return cursor_.error(cursor_.token(within_token_), "WITHIN 0 would remember nothing; leave DEDUP KEY out");
        return {};
    }

    Status partitions() {
        schema().partitions = static_cast<std::int32_t>(TRY(cursor_.integer("PARTITIONS", 1, limits::partitions_max)));
        if (cursor_.accept({"BY"})) {
            partition_by_ = TRY(reference("a column after BY"));
            has_partition_by_ = true;
        }
        return follows({"BY"});
    }

    Status retain() {
        const Token& where = cursor_.peek();
        stream_.retain_ms = TRY(cursor_.duration("RETAIN"));
        if (stream_.retain_ms == 0) return cursor_.error(where, "RETAIN 0 would keep nothing");
        if (cursor_.accept({"MAX"})) stream_.retain_bytes = TRY(parse_size(cursor_));
        return follows({"MAX"});
    }

    Status on_error() {
        TRY(cursor_.expect({"ERROR"}));
        if (cursor_.accept({"DEAD", "LETTER"})) {
            schema().on_error = record::OnError::dead_letter;
        } else if (cursor_.accept({"REJECT"})) {
            schema().on_error = record::OnError::reject;
        } else {
            return cursor_.unexpected({"DEAD LETTER", "REJECT"});
        }
        return {};
    }

    Result<int> index_of(const ColumnReference& reference) {
        std::vector<std::string_view> names;
        for (std::size_t i = 0; i < schema().columns.size(); ++i) {
            const std::string& name = schema().columns[i].name;
            if (same_word(name, reference.name)) return static_cast<int>(i);
            names.push_back(name);
        }
        std::string detail = "there is no column " + reference.name;
        const std::string_view near = nearest_word(reference.name, names);
        if (!near.empty()) detail += "; did you mean " + std::string(near) + "?";
        return cursor_.error(cursor_.token(reference.token), std::move(detail));
    }

    Status resolve() {
        if (schema().columns.empty()) return cursor_.error(cursor_.peek(), "a stream needs at least one column");
        if (has_event_time_) {
            schema().event_time = TRY(index_of(event_time_));
            const record::Column& column = schema().columns[static_cast<std::size_t>(schema().event_time)];
            if (column.type != record::ColumnType::timestamp) {
                return cursor_.error(cursor_.token(event_time_.token), "EVENT TIME needs a TIMESTAMP column; " +
                                                                           column.name + " is " +
                                                                           std::string(record::type_name(column.type)));
            }
        }
        for (const ColumnReference& key : dedup_key_) {
            const int index = TRY(index_of(key));
            if (std::ranges::find(schema().dedup_key, index) != schema().dedup_key.end()) {
                return cursor_.error(cursor_.token(key.token), "DEDUP KEY names " + key.name + " twice");
            }
            schema().dedup_key.push_back(index);
        }
        if (has_dedup_ && schema().dedup_within_ms > stream_.retain_ms) {
            return cursor_.error(cursor_.token(within_token_),
                                 "DEDUP WITHIN " + record::format_duration(schema().dedup_within_ms) +
                                     " may not exceed RETAIN " + record::format_duration(stream_.retain_ms) +
                                     (has_retain_ ? "" : " (the default)"));
        }
        TRY(check_defaults());
        if (has_partition_by_) schema().partition_by = TRY(index_of(partition_by_));
        return {};
    }

    // Time and identity are asked of the event itself: there a DEFAULT would be silently of no use.
    Status check_defaults() const {
        for (std::size_t c = 0; c < stream_.schema.columns.size(); ++c) {
            const std::int64_t position = stream_.default_positions[c];
            if (position < 0) continue;
            const bool is_time = stream_.schema.event_time == static_cast<int>(c);
            if (!is_time &&
                std::ranges::find(stream_.schema.dedup_key, static_cast<int>(c)) == stream_.schema.dedup_key.end())
                continue;
            return Error{Errc::invalid_argument,
                         std::string("DEFAULT of column ") + stream_.schema.columns[c].name +
                             ": an event without its " + (is_time ? "EVENT TIME" : "DEDUP KEY") +
                             " is refused, whatever the DEFAULT; leave it out",
                         0, position};
        }
        return {};
    }

    Cursor& cursor_;
    CreateStream stream_;
    bool has_event_time_ = false, has_dedup_ = false, has_partitions_ = false, has_retain_ = false,
         has_on_error_ = false;
    bool has_partition_by_ = false;
    ColumnReference event_time_, partition_by_;
    std::vector<ColumnReference> dedup_key_;
    std::size_t within_token_ = 0;
    std::int64_t check_position_ = -1;  // of the last column that has a CHECK
};

}  // namespace

Result<CreateStream> parse_create_stream(Cursor& cursor) {
    return StreamParser(cursor).parse();
}

Result<AlterStream::NewColumn> parse_column(Cursor& cursor) {
    return StreamParser(cursor).one_column();
}

Result<std::int64_t> parse_size(Cursor& cursor) {
    const Token& size = cursor.peek();
    const auto bytes = size.kind == TokenKind::size ? parse_size_bytes(size.text) : std::nullopt;
    if (!bytes || *bytes == 0)
        return cursor.error(size, place_of(size) + ": expected a size after MAX, such as 50GB or 512MiB");
    cursor.advance();
    return *bytes;
}

record::PathStep default_path_step(std::string_view column) {
    record::PathStep step;
    step.name = std::string(column);
    return step;
}

std::string default_path_text(std::string_view column) {
    const bool plain = std::ranges::all_of(column, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    });
    return plain ? "$." + std::string(column) : "$.\"" + std::string(column) + "\"";
}

}  // namespace weir::sql
