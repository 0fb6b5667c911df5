// contract.md, "Events": the order of the checks, each pair of neighbours, and the bound of the future.
#include "base/limits.h"
#include "record/json.h"
#include "record/path.h"

#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <memory>
#include <string>

namespace weir::record {
namespace {

constexpr std::int64_t now_ms = 1'500'000'000'000;
constexpr std::int64_t hour_ms = 3'600'000;

// id TEXT, n INTEGER CHECK, m INTEGER NOT NULL, ts TIMESTAMP; EVENT TIME ts, DEDUP KEY (id)
Schema make_schema() {
    Schema schema;
    for (const auto& [name, type] : {std::pair{"id", ColumnType::text}, std::pair{"n", ColumnType::integer},
                                     std::pair{"m", ColumnType::integer}, std::pair{"ts", ColumnType::timestamp}}) {
        Column column;
        column.name = name;
        column.type = type;
        column.path_text = "$." + column.name;
        column.path = parse_path(column.path_text).value();
        schema.columns.push_back(std::move(column));
    }
    schema.columns[1].check_sql = "n >= 0";
    schema.columns[2].not_null = true;
    schema.event_time = 3;
    schema.dedup_key = {0};
    return schema;
}

class NotNegative final : public ColumnCheck {
  public:
    Status evaluate(const ColumnBatch& batch, std::vector<std::int32_t>& failed) override {
        for (std::size_t row = 0; row < batch.rows; ++row)
            if (batch.columns[1].present[row] != 0 && batch.columns[1].number[row] < 0) failed[row] = 1;
        return {};
    }
};

std::string reason(const std::string& line, const Schema& schema = make_schema()) {
    auto body = std::make_unique<char[]>(line.size() + JsonDecoder::padding_bytes);
    std::memcpy(body.get(), line.data(), line.size());
    JsonDecoder decoder;
    DecodedEvents out;
    NotNegative check;
    decoder.decode(schema, BodyShape::ndjson, {body.get(), line.size()}, now_ms, {}, &check, out);
    REQUIRE(out.lines == 1);
    return std::string(reject_name(out.rejected.empty() ? Reject::none : out.rejected[0].reason));
}

TEST_CASE("of two checks that an event fails the earlier one in the list is the reason") {
    const std::string deep = std::string(64, '[') + std::string(64, ']');
    const std::string at = R"("ts":"2015-05-17T10:05:00Z")";
    CHECK(reason(R"({"id":")" + std::string(limits::event_bytes_max, 'x')) == "too_large");  // and malformed
    CHECK(reason(R"({"id":1,"a":01,"b":)" + deep + "}") == "malformed_json");                // and too deep behind it
    CHECK(reason(R"({"id":1,"b":)" + deep + R"(,"a":01})") == "too_deep");                   // before it
    CHECK(reason("[" + deep + "]") == "too_deep");                                           // and no object
    CHECK(reason("[1,]") == "malformed_json");                                               // and no object
    CHECK(reason("[]") == "not_an_object");                                                  // and no dedup key
    CHECK(reason(R"({"ts":"never"})") == "missing_dedup_key");                               // and a bad event time
    CHECK(reason(R"({"id":null,"ts":"2999-01-01T00:00:00Z"})") == "missing_dedup_key");      // and one of the future
    CHECK(reason(R"({"id":"a","n":"x"})") == "bad_event_time");                              // and a wrong type
    CHECK(reason(R"({"id":{},"ts":null})") == "bad_event_time");                             // of the dedup key itself
    CHECK(reason(R"({"id":"a","n":"x","ts":"2999-01-01T00:00:00Z"})") == "future_event_time");
    CHECK(reason(R"({"id":"a","n":"x",)" + at + "}") == "wrong_type");  // and a null
    CHECK(reason(R"({"id":{},"m":1,)" + at + "}") == "wrong_type");
    CHECK(reason(R"({"id":"a","n":-1,"m":null,)" + at + "}") == "not_null");  // and a CHECK
    CHECK(reason(R"({"id":"a","n":-1,"m":1,)" + at + "}") == "check_failed");
    CHECK(reason(R"({"id":"a","n":null,"m":1,)" + at + "}") == "none");  // a CHECK that is NULL passes
}

TEST_CASE("MAX FUTURE is an hour unless told, counted from the append clock; the past has no bound") {
    const auto at = [](std::int64_t ms) { return R"({"id":"a","m":1,"ts":)" + std::to_string(ms) + "}"; };
    CHECK(reason(at(now_ms + hour_ms)) == "none");
    CHECK(reason(at(now_ms + hour_ms + 1)) == "future_event_time");
    CHECK(reason(at(-(std::int64_t{1} << 62))) == "none");
    CHECK(reason(R"({"id":"a","m":1,"ts":"0000-01-01T00:00:00Z"})") == "none");
    Schema schema = make_schema();
    schema.max_future_ms = 0;
    CHECK(reason(at(now_ms), schema) == "none");
    CHECK(reason(at(now_ms + 1), schema) == "future_event_time");
}

}  // namespace
}  // namespace weir::record
