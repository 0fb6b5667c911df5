#include "query/stream_table.h"

#include "small_shard.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace weir;
using namespace weir::query;
using namespace weir::query::test;
using store::Comparison;
using store::Value;

namespace {

// Columns by name; "" uses none. Rows joined by ';'.
std::string scan(const StreamTableParts& parts, const std::vector<std::string>& wanted,
                 const std::vector<std::tuple<std::string, Comparison, Value>>& where = {}) {
    auto table = make_stream_table(parts);
    const auto index = [&](const std::string& name) {
        for (std::size_t i = 0; i < table->columns().size(); ++i) {
            if (table->columns()[i].name == name) return static_cast<int>(i);
        }
        FAIL("no column " + name);
        return -1;
    };
    std::vector<bool> used(table->columns().size(), false);
    for (const std::string& name : wanted)
        used[static_cast<std::size_t>(index(name))] = true;
    // SQLite checks a constraint again, so it asks for the column: records are read.
    if (!where.empty()) used[static_cast<std::size_t>(index("_value"))] = true;
    std::vector<store::Constraint> constraints;
    for (const auto& [name, op, value] : where) {
        CHECK(table->can_prune(index(name), op));
        constraints.push_back({index(name), op, value});
    }
    auto rows = table->open_scan(used, constraints);
    if (!rows) return "error: " + rows.error().detail;
    table.reset();
    std::string out;
    while (true) {
        auto more = rows.value()->next();
        if (!more) return "error: " + more.error().detail;
        if (!more.value()) return out;
        std::vector<Value> values;
        for (const std::string& name : wanted) {
            auto again = make_stream_table(parts);
            for (std::size_t i = 0; i < again->columns().size(); ++i) {
                if (again->columns()[i].name == name) values.push_back(rows.value()->column(static_cast<int>(i)));
            }
        }
        out += (out.empty() ? "" : ";") + shown(values);
    }
}

Value number(std::int64_t v) {
    return Value::of(v);
}

}  // namespace

TEST_CASE("stream table: columns of every type, and the hidden ones") {
    SmallShard shard;
    const auto stream = shard.add_stream(5, access_statement);
    shard.entry(*stream, 5000,
                {{0,
                  {{ms("2015-05-17T10:05:04Z"),
                    R"({"event_id":"a\"b","status":200,"properties":{"path":"/x"},"ok":true,"ratio":2.5,)"
                    R"("doc":{"k":[1]},"timestamp":"2015-05-17T12:05:04+02:00"})",
                    "key",
                    {{"h", "v\n"}, {"h", "2"}}},
                   {7, "{}"}}}});
    const auto parts = shard.parts(stream);
    CHECK(scan(parts, {"event_id", "status", "path", "ok", "ratio", "doc", "ts"}) ==
          "a\"b|200|/x|1|2.500|{\"k\":[1]}|" + std::to_string(ms("2015-05-17T10:05:04Z")) +
              ";NULL|NULL|NULL|NULL|NULL|NULL|NULL");
    CHECK(scan(parts, {"_partition", "_offset", "_append_time", "_key", "_headers"}) ==
          "0|0|5000|key|[[\"h\",\"v\\u000a\"],[\"h\",\"2\"]];0|1|5000|NULL|[]");
    CHECK(scan(parts, {"_value", "status"}).substr(0, 12) == "{\"event_id\":");
    CHECK(scan(parts, {"_offset", "_append_time"}) == "0|5000;1|5000");
    const auto table = make_stream_table(parts);
    CHECK(table->estimated_rows() == 2);
    CHECK(table->columns()[6].sql_type == "TIMESTAMP");
    CHECK(table->columns().back().name == "_value");
    CHECK(table->columns().back().hidden);
    CHECK_FALSE(table->columns()[0].hidden);
    CHECK_FALSE(table->can_prune(0, Comparison::eq));
}

TEST_CASE("stream table: only what is used is decoded; count(*) reads nothing") {
    SmallShard shard;
    const auto stream = shard.add_stream(5, access_statement);
    for (int b = 0; b < 4; ++b) {
        std::vector<TestEvent> events;
        for (int i = 0; i < 100; ++i)
            events.push_back(access_event(b * 100 + i, 1000 * b + i));
        shard.entry(*stream, b, {{b % 2, events}});
    }
    const auto count = [](const std::string& rows) {
        return rows.empty() ? 0 : 1 + std::count(rows.begin(), rows.end(), ';');
    };
    {
        const auto parts = shard.parts(stream);
        auto rows = make_stream_table(parts)->open_scan(std::vector<bool>(13, false), {}).value();
        int n = 0;
        while (rows->next().value())
            ++n;
        CHECK(n == 400);
        CHECK(parts.counters->batches == 0);
        CHECK(parts.counters->records == 0);
    }
    {
        const auto parts = shard.parts(stream);
        CHECK(count(scan(parts, {"_key"})) == 400);
        CHECK(parts.counters->records == 400);
        CHECK(parts.counters->decoded == 0);
    }
    {
        const auto parts = shard.parts(stream);
        CHECK(count(scan(parts, {"status", "_offset"})) == 400);
        CHECK(parts.counters->decoded == 400);
    }
}

TEST_CASE("stream table: pruned by partition, offset and event time") {
    // One index entry a batch, so that the time index can tell batches apart.
    SmallShard shard({128ull << 20, 1});
    const auto stream = shard.add_stream(5, access_statement);
    for (int b = 0; b < 10; ++b) {
        std::vector<TestEvent> events;
        for (int i = 0; i < 10; ++i)
            events.push_back(access_event(b * 10 + i, 1000 * b + i));
        shard.entry(*stream, b, {{b % 2, events}});
    }
    const auto pruned = [&](const std::vector<std::tuple<std::string, Comparison, Value>>& where, std::uint64_t batches,
                            const std::string& want) {
        const auto parts = shard.parts(stream);
        const std::string rows = scan(parts, {"_partition", "_offset"}, where);
        if (!want.empty()) CHECK(rows == want);
        CHECK(parts.counters->batches <= batches);
        return rows;
    };
    pruned({{"_partition", Comparison::eq, number(7)}}, 0, "");
    pruned({{"_partition", Comparison::gt, number(0)}}, 5, "");
    CHECK(pruned({{"_partition", Comparison::eq, number(1)}}, 5, "").find("0|") != 0);
    pruned({{"_partition", Comparison::eq, number(0)}, {"_offset", Comparison::ge, number(48)}}, 1, "0|48;0|49");
    pruned({{"_offset", Comparison::lt, number(2)}}, 2, "0|0;0|1;1|0;1|1");
    pruned({{"_offset", Comparison::eq, number(9)}}, 2, "0|9;1|9");
    pruned({{"_offset", Comparison::gt, number(INT64_MAX)}}, 0, "");
    pruned({{"ts", Comparison::ge, number(9000)}}, 2, "");
    CHECK(pruned({{"ts", Comparison::ge, number(9000)}}, 2, "").find("1|40") != std::string::npos);
    pruned({{"ts", Comparison::gt, number(3009)}, {"ts", Comparison::lt, number(4000)}}, 3, "");
    pruned({{"ts", Comparison::gt, number(100'000)}}, 2, "");
}

TEST_CASE("stream table: batches of one, compressed batches, large events, retention") {
    SmallShard shard({4096, 1});
    const auto stream = shard.add_stream(5, access_statement);
    std::string want;
    for (int i = 0; i < 600; ++i) {
        shard.entry(*stream, i,
                    {{0,
                      {access_event(i, i)},
                      i % 3 == 0   ? record::Codec::zstd
                      : i % 3 == 1 ? record::Codec::lz4
                                   : record::Codec::none}});
        if (i >= 100)
            want += (want.empty() ? "" : ";") + std::to_string(i) + "|/p" + std::to_string(i) + "|k" +
                    std::to_string(i) + "|" + std::to_string(i);
    }
    shard.retain(*stream, 0, 100);
    CHECK(scan(shard.parts(stream), {"_offset", "path", "_key", "_append_time"}) == want);
    // Blocks end early where events are large.
    const auto large = shard.add_stream(6, "CREATE STREAM large (a TEXT) PARTITIONS 1");
    const std::string text(3'000'000, 'x');
    for (int i = 0; i < 5; ++i)
        shard.entry(*large, i, {{0, {{i, "{\"a\":\"" + text + "\"}"}}}});
    CHECK(scan(shard.parts(large), {"a"}).size() == 5 * text.size() + 4);
}

TEST_CASE("stream table: what is missing is an error, what is empty is not") {
    SmallShard shard;
    const auto stream = shard.add_stream(5, access_statement);
    auto parts = shard.parts(stream);
    CHECK(scan(parts, {"status"}) == "");
    parts.partitions.push_back({0, {0, 0, 0, 0}});
    CHECK(scan(parts, {"status"}) == "");
    parts.partitions.push_back({1, {0, 10, 0, 1000}});
    CHECK(scan(parts, {"status"}).find("error") == 0);
}
