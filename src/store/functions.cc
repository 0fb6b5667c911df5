#include "store/functions.h"

#include "record/time.h"
#include "store/detail/sqlite.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

namespace weir::store {

namespace {

using detail::set_result;
using detail::value_of;

// The time an argument means, in ms; nullopt: none.
std::optional<std::int64_t> time_of(const Value& value) {
    switch (value.type) {
        case ValueType::integer:
            return value.integer;
        case ValueType::real:
            // Outside of int64 (or NaN, which SQLite never hands out) there is no such time.
            if (!(value.real >= -9.2e18 && value.real <= 9.2e18)) return std::nullopt;
            return static_cast<std::int64_t>(std::floor(value.real));
        case ValueType::text:
            return record::parse_time_literal(value.text);
        case ValueType::null:
        case ValueType::blob:
            return std::nullopt;
    }
    return std::nullopt;
}

void epoch_ms(sqlite3_context* context, int, sqlite3_value** arguments) {
    if (const auto ms = time_of(value_of(arguments[0]))) sqlite3_result_int64(context, *ms);
}

void rfc3339(sqlite3_context* context, int, sqlite3_value** arguments) {
    if (const auto ms = time_of(value_of(arguments[0]))) {
        const std::string text = record::format_rfc3339(*ms);
        set_result(context, Value::of(std::string_view(text)), false);
    }
}

// The duration of an argument; sets the error and yields nullopt when it is not one above zero.
std::optional<std::int64_t> duration_of(sqlite3_context* context, sqlite3_value* argument, std::int64_t least) {
    const Value value = value_of(argument);
    std::optional<std::int64_t> ms;
    if (value.type == ValueType::text) ms = record::parse_duration_ms(value.text);
    if (ms && *ms >= least) return ms;
    sqlite3_result_error(context, "not a duration (write it as text: '15m', '1h', '7d')", -1);
    return std::nullopt;
}

void bucket(sqlite3_context* context, int, sqlite3_value** arguments) {
    if (sqlite3_value_type(arguments[0]) == SQLITE_NULL || sqlite3_value_type(arguments[1]) == SQLITE_NULL) return;
    const auto size = duration_of(context, arguments[1], 1);
    if (!size) return;
    const auto ms = time_of(value_of(arguments[0]));
    if (!ms) return;
    const std::int64_t into = ((*ms % *size) + *size) % *size;  // size <= 2^62, so the sum fits
    if (*ms < INT64_MIN + into) return;                         // the bucket begins before time itself: NULL
    sqlite3_result_int64(context, *ms - into);
}

void weir_time(sqlite3_context* context, int, sqlite3_value** arguments) {
    const Value value = value_of(arguments[0]);
    if (value.type == ValueType::text) {
        if (const auto ms = record::parse_time_literal(value.text)) {
            sqlite3_result_int64(context, *ms);
            return;
        }
    }
    sqlite3_result_value(context, arguments[0]);
}

const QueryClock& clock_of(sqlite3_context* context) {
    return *static_cast<const QueryClock*>(sqlite3_user_data(context));
}

void now(sqlite3_context* context, int, sqlite3_value**) {
    sqlite3_result_int64(context, clock_of(context).now_ms);
}

void ago(sqlite3_context* context, int, sqlite3_value** arguments) {
    if (sqlite3_value_type(arguments[0]) == SQLITE_NULL) return;
    const auto ms = duration_of(context, arguments[0], 0);
    // Durations end at 2^62 ms and now is a clock's: the difference fits unless the clock is set before year -1e8.
    if (ms) sqlite3_result_int64(context, std::max(clock_of(context).now_ms, INT64_MIN / 2) - *ms);
}

}  // namespace

Status register_functions(sqlite3* db, const QueryClock* clock) {
    struct Function {
        const char* name;
        int arguments;
        void (*call)(sqlite3_context*, int, sqlite3_value**);
        bool needs_clock;
    };
    constexpr Function functions[] = {
        {"epoch_ms", 1, epoch_ms, false},   {"rfc3339", 1, rfc3339, false}, {"bucket", 2, bucket, false},
        {"weir_time", 1, weir_time, false}, {"now", 0, now, true},          {"ago", 1, ago, true},
    };
    // now() and ago() stand still during a statement, which is all that DETERMINISTIC claims: SQLite calls them once.
    constexpr int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
    for (const Function& f : functions) {
        if (f.needs_clock && clock == nullptr) continue;
        void* user_data = const_cast<QueryClock*>(clock);
        const int code =
            sqlite3_create_function_v2(db, f.name, f.arguments, flags, user_data, f.call, nullptr, nullptr, nullptr);
        if (code != SQLITE_OK) return detail::error_of(db, code, "register function");
    }
    return {};
}

}  // namespace weir::store
