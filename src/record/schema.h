// What a stream's events look like: columns, where they are in the JSON, and which of them mean time, identity and
// place. Built by sql/ from CREATE STREAM; read by every room above. Immutable once shared.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::record {

enum class ColumnType : std::uint8_t { text, integer, real, boolean, timestamp, json, blob };

// "TEXT", "INTEGER" ... as SQL writes them.
std::string_view type_name(ColumnType type);

// One step of a JSON path: `.name` or `[n]`.
struct PathStep {
    std::string name;         // decoded member name; empty when this is an array step
    std::int32_t index = -1;  // array element, -1 when this is a member step
    bool operator==(const PathStep&) const = default;
};

struct Column {
    std::string name;
    ColumnType type = ColumnType::text;
    std::vector<PathStep> path;  // empty: the whole event ($)
    std::string path_text;       // as written, "$.properties.status"
    bool not_null = false;
    std::string check_sql;    // expression text of CHECK (...), empty where there is none
    std::string default_sql;  // expression text of DEFAULT, empty where there is none
};

enum class OnError : std::uint8_t { dead_letter, reject };

// A number that no other Schema object of this process ever has, copies included: what a decoder caches under it cannot
// be confused with another schema that took the same address. Means nothing outside of the process.
class SchemaIdentity {
  public:
    SchemaIdentity() noexcept : value_(next()) {}
    SchemaIdentity(const SchemaIdentity&) noexcept : value_(next()) {}
    SchemaIdentity& operator=(const SchemaIdentity&) noexcept {
        value_ = next();
        return *this;
    }
    ~SchemaIdentity() = default;
    std::uint64_t value() const { return value_; }

  private:
    static std::uint64_t next() noexcept;
    std::uint64_t value_;
};

struct Schema {
    std::vector<Column> columns;
    int event_time = -1;                     // column of EVENT TIME, -1: the append time
    std::int64_t delay_ms = 0;               // watermark = highest event time - this
    std::int64_t idle_after_ms = -1;         // -1: never
    std::int64_t max_future_ms = 3'600'000;  // event time further ahead of the append clock: future_event_time
    std::vector<int> dedup_key;              // columns of DEDUP KEY, empty: no dedup
    std::int64_t dedup_within_ms = 0;
    int partition_by = -1;  // column of PARTITIONS n BY, -1: the dedup key, or one partition a batch
    std::int32_t partitions = 4;
    OnError on_error = OnError::dead_letter;
    // An undeclared stream takes what comes: a column of another type reads as null, an absent dedup key means "no
    // dedup for this event", an absent or unreadable event time means the append time.
    bool lenient = false;
    SchemaIdentity identity = {};  // of this object; do not change a schema that a decoder has seen

    // Index or -1. An exact match first, then one that differs only in the case of ASCII letters, as SQL names do.
    int column(std::string_view name) const;
};

}  // namespace weir::record
