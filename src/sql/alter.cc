// ALTER STREAM: its clauses, the definition that it makes, and which definition may follow which.
#include "base/limits.h"
#include "record/time.h"
#include "sql/detail/parse_stream.h"
#include "sql/rewrite.h"
#include "sql/statement.h"
#include "sql/tokens.h"

#include <algorithm>
#include <array>
#include <utility>

namespace weir::sql {
namespace {

struct NotAltered {
    std::string_view word;
    std::string_view why;
};
constexpr std::array<NotAltered, 4> not_altered = {{
    {"DROP", "DROP COLUMN: the events hold what they hold; leave the column out of your queries"},
    {"RENAME", "RENAME: views and senders know the name; CREATE another stream"},
    {"ALTER",
     "ALTER COLUMN: the events were accepted by the column as it is; ADD a column of another name that reads the "
     "same path"},
    {"MODIFY",
     "MODIFY: the events were accepted by the column as it is; ADD a column of another name that reads the same "
     "path"},
}};

class AlterParser {
  public:
    explicit AlterParser(Cursor& cursor) : cursor_(cursor) {}

    Result<AlterStream> parse() {
        alter_.if_exists = cursor_.accept({"IF", "EXISTS"});
        if (!alter_.if_exists && cursor_.accept({"IF"})) return cursor_.unexpected({"EXISTS"});
        alter_.name = TRY(cursor_.name("a stream after ALTER STREAM"));
        do {
            TRY(action());
        } while (cursor_.accept_op(","));
        return std::move(alter_);
    }

  private:
    Status action() {
        const Token& where = cursor_.peek();
        if (cursor_.accept({"ADD"})) return add_column();
        for (const NotAltered& refused : not_altered)
            if (where.is_word(refused.word)) return cursor_.unsupported(where, refused.why);
        (void)cursor_.accept({"SET"});
        return setting();
    }

    Status add_column() {
        (void)cursor_.accept({"COLUMN"});
        const bool if_not_exists = cursor_.accept({"IF", "NOT", "EXISTS"});
        if (!if_not_exists && cursor_.accept({"IF"})) return cursor_.unexpected({"NOT EXISTS"});
        const auto position = static_cast<std::int64_t>(cursor_.peek().position);
        AlterStream::NewColumn added = TRY(parse_column(cursor_));
        added.if_not_exists = if_not_exists;
        added.position = position;
        for (const auto& other : alter_.columns) {
            if (same_word(other.column.name, added.column.name))
                return Error{Errc::invalid_argument, "column " + added.column.name + " is added twice", 0, position};
        }
        alter_.columns.push_back(std::move(added));
        return {};
    }

    Status setting() {
        const Token& where = cursor_.peek();
        if (cursor_.accept({"RETAIN"})) {
            TRY(set_duration(alter_.retain_ms, where, "RETAIN"));
            if (alter_.retain_ms->value == 0) return at(*alter_.retain_ms, "RETAIN 0 would keep nothing");
            return cursor_.sees({"MAX"}) && !cursor_.sees({"MAX", "FUTURE"}) ? max_size() : Status{};
        }
        if (cursor_.accept({"DELAY"})) return set_duration(alter_.delay_ms, where, "DELAY");
        if (cursor_.accept({"MAX", "FUTURE"})) return set_duration(alter_.max_future_ms, where, "MAX FUTURE");
        if (cursor_.sees({"MAX"})) return max_size();
        if (cursor_.accept({"IDLE", "AFTER"})) {
            const auto position = static_cast<std::int64_t>(cursor_.peek().position);
            if (!cursor_.accept({"NEVER"})) return set_duration(alter_.idle_after_ms, where, "IDLE AFTER");
            return set(alter_.idle_after_ms, where, "IDLE AFTER", -1, position);
        }
        if (cursor_.accept({"DEDUP"})) {
            if (cursor_.sees({"KEY"}))
                return cursor_.unsupported(cursor_.peek(),
                                           "DEDUP KEY: the events that are there were not compared by "
                                           "another key; CREATE another stream. DEDUP WITHIN can be set");
            TRY(cursor_.expect({"WITHIN"}));
            TRY(set_duration(alter_.dedup_within_ms, where, "DEDUP WITHIN"));
            if (alter_.dedup_within_ms->value == 0)
                return at(*alter_.dedup_within_ms, "WITHIN 0 would remember nothing");
            return {};
        }
        for (const std::string_view fixed : {"PARTITIONS", "EVENT", "ON", "KEY"}) {
            if (!where.is_word(fixed)) continue;
            return cursor_.unsupported(where, std::string(fixed) +
                                                  ": what decides where, when and whether an event is "
                                                  "stored is part of the stream; CREATE another one");
        }
        return cursor_.unexpected({"ADD", "RETAIN", "MAX", "DELAY", "MAX FUTURE", "IDLE AFTER", "DEDUP"});
    }

    Status max_size() {
        const Token& where = cursor_.peek();
        cursor_.advance();
        const auto position = static_cast<std::int64_t>(cursor_.peek().position);
        const std::int64_t bytes = cursor_.accept({"NONE"}) ? -1 : TRY(parse_size(cursor_));
        return set(alter_.retain_bytes, where, "MAX", bytes, position);
    }

    Status set_duration(std::optional<AlterStream::Setting>& setting, const Token& where, std::string_view what) {
        const auto position = static_cast<std::int64_t>(cursor_.peek().position);
        const std::int64_t ms = TRY(cursor_.duration(what));
        return set(setting, where, what, ms, position);
    }

    Status set(std::optional<AlterStream::Setting>& setting, const Token& where, std::string_view what,
               std::int64_t value, std::int64_t position) {
        if (setting) return cursor_.error(where, std::string(what) + " stands twice");
        setting = AlterStream::Setting{value, position};
        return {};
    }

    static Error at(const AlterStream::Setting& setting, std::string why) {
        return {Errc::invalid_argument, std::move(why), 0, setting.position};
    }

    Cursor& cursor_;
    AlterStream alter_;
};

Error at(std::int64_t position, std::string why) {
    return {Errc::invalid_argument, std::move(why), 0, position};
}

Status add(CreateStream& stream, const AlterStream::NewColumn& added) {
    record::Column column = added.column;
    if (const int there = stream.schema.column(column.name); there >= 0) {
        if (added.if_not_exists) return {};
        return at(added.position, "there is a column " + stream.schema.columns[static_cast<std::size_t>(there)].name +
                                      " already; ADD COLUMN IF NOT EXISTS leaves it as it is");
    }
    if (column.not_null && column.default_sql.empty()) {
        return at(added.position, "column " + column.name +
                                      " is NOT NULL and has no DEFAULT: the events that are there "
                                      "have none of it; add DEFAULT ..., or leave NOT NULL out");
    }
    if (stream.schema.columns.size() == limits::columns_max)
        return at(added.position, "a stream has at most " + std::to_string(limits::columns_max) + " columns");
    stream.schema.columns.push_back(std::move(column));
    stream.check_positions.push_back(added.check_position);
    stream.default_positions.push_back(added.default_position);
    return {};
}

std::string name_of(const record::Schema& schema, int column) {
    return column < 0 ? std::string("none") : schema.columns[static_cast<std::size_t>(column)].name;
}

std::string keys_of(const record::Schema& schema) {
    std::string names;
    for (const int key : schema.dedup_key)
        names += (names.empty() ? "" : ", ") + name_of(schema, key);
    return names.empty() ? "none" : names;
}

bool same_column(const record::Column& a, const record::Column& b) {
    return a.name == b.name && a.type == b.type && a.path == b.path && a.not_null == b.not_null &&
           a.check_sql == b.check_sql && a.default_sql == b.default_sql;
}

}  // namespace

Result<AlterStream> parse_alter_stream(Cursor& cursor) {
    return AlterParser(cursor).parse();
}

Result<CreateStream> altered(CreateStream stream, const AlterStream& statement) {
    record::Schema& schema = stream.schema;
    stream.if_not_exists = stream.or_replace = false;
    const std::size_t columns_before = schema.columns.size();
    stream.check_positions.assign(columns_before, -1);
    stream.default_positions.assign(columns_before, -1);
    for (const auto& added : statement.columns)
        TRY(add(stream, added));
    for (std::size_t c = columns_before; c < schema.columns.size(); ++c) {
        record::Column& column = schema.columns[c];
        if (column.check_sql.empty()) continue;
        // As CREATE does it: a TIMESTAMP is compared in time.
        auto rewritten = rewrite_expression(column.check_sql, stream_shape(stream.name, schema));
        if (!rewritten) return at(stream.check_positions[c], rewritten.error().detail);
        column.check_sql = std::move(rewritten).value();
    }
    if (statement.retain_ms) stream.retain_ms = statement.retain_ms->value;
    if (statement.retain_bytes) stream.retain_bytes = statement.retain_bytes->value;
    for (const auto* of_time : {&statement.delay_ms, &statement.max_future_ms, &statement.idle_after_ms}) {
        if (*of_time && schema.event_time < 0)
            return at((*of_time)->position, "DELAY, MAX FUTURE and IDLE AFTER belong to EVENT TIME, which " +
                                                stream.name +
                                                " does not have: its events have the time of their append");
    }
    if (statement.delay_ms) schema.delay_ms = statement.delay_ms->value;
    if (statement.max_future_ms) schema.max_future_ms = statement.max_future_ms->value;
    if (statement.idle_after_ms) schema.idle_after_ms = statement.idle_after_ms->value;
    if (statement.dedup_within_ms) {
        if (schema.dedup_key.empty())
            return at(statement.dedup_within_ms->position,
                      stream.name +
                          " has no DEDUP KEY, and the events that are there were not compared by one; CREATE "
                          "another stream");
        if (statement.dedup_within_ms->value < schema.dedup_within_ms)
            return at(statement.dedup_within_ms->position,
                      "DEDUP WITHIN can become wider only: it is " + record::format_duration(schema.dedup_within_ms) +
                          ", and who sends an event again in that time relies on it; CREATE another stream");
        schema.dedup_within_ms = statement.dedup_within_ms->value;
    }
    if (!schema.dedup_key.empty() && schema.dedup_within_ms > stream.retain_ms) {
        const bool by_retain = statement.retain_ms && !statement.dedup_within_ms;
        const auto& setting = by_retain ? statement.retain_ms : statement.dedup_within_ms;
        return at(setting ? setting->position : -1,
                  "DEDUP WITHIN " + record::format_duration(schema.dedup_within_ms) + " may not exceed RETAIN " +
                      record::format_duration(stream.retain_ms) +
                      (by_retain ? ": RETAIN can be no shorter than that" : ": SET RETAIN too"));
    }
    if (canonical(stream).size() > limits::sql_bytes_max)
        return Error{Errc::too_large,
                     "the stream's statement would have more than " + std::to_string(limits::sql_bytes_max) + " bytes"};
    return stream;
}

Status check_change(const CreateStream& from, const CreateStream& to) {
    const record::Schema& old = from.schema;
    const record::Schema& now = to.schema;
    const auto refuse = [&](const std::string& why) {
        return Error{Errc::conflict, "stream " + from.name + " cannot become this: " + why +
                                         ". CREATE another stream, or DROP this one if its events may go"};
    };
    for (std::size_t c = 0; c < old.columns.size(); ++c) {
        const std::string& name = old.columns[c].name;
        if (now.column(name) < 0) return refuse("column " + name + " is missing, and the events have it");
        if (c >= now.columns.size() || !same_column(old.columns[c], now.columns[c]))
            return refuse("column " + name +
                          " must stay as it is and where it is; new columns stand behind the others");
    }
    for (std::size_t c = old.columns.size(); c < now.columns.size(); ++c) {
        if (now.columns[c].not_null && now.columns[c].default_sql.empty())
            return refuse("column " + now.columns[c].name +
                          " is new and NOT NULL without a DEFAULT, and the events have none of it");
    }
    if (old.event_time != now.event_time)
        return refuse("EVENT TIME stays " + name_of(old, old.event_time) + ": windows were made by it");
    if (old.dedup_key != now.dedup_key)
        return refuse("DEDUP KEY stays " + keys_of(old) + ": the events that are there were not compared by another");
    if (!old.dedup_key.empty() && now.dedup_within_ms < old.dedup_within_ms)
        return refuse("DEDUP WITHIN can become wider than " + record::format_duration(old.dedup_within_ms) +
                      " only: who sends an event again in that time relies on it");
    if (old.partitions != now.partitions || old.partition_by != now.partition_by)
        return refuse("PARTITIONS " + std::to_string(old.partitions) +
                      (old.partition_by < 0 ? "" : " BY " + name_of(old, old.partition_by)) +
                      " stays: offsets and orders hang on it");
    if (old.on_error != now.on_error) return refuse("ON ERROR stays as it is");
    if (old.lenient != now.lenient)
        return refuse("a stream that nobody declared stays lenient, and no other becomes it");
    return {};
}

std::string loss_text(const CreateStream& from, const CreateStream& to) {
    if (to.retain_ms < from.retain_ms)
        return "RETAIN would become shorter, from " + record::format_duration(from.retain_ms) + " to " +
               record::format_duration(to.retain_ms);
    if (to.retain_bytes >= 0 && (from.retain_bytes < 0 || to.retain_bytes < from.retain_bytes))
        return "MAX would become " + format_size(to.retain_bytes) + ", from " +
               (from.retain_bytes < 0 ? "none" : format_size(from.retain_bytes));
    return {};
}

}  // namespace weir::sql
