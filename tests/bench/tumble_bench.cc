// Cost of the hot path from decoded columns to window rows, in ns a row: store::Expression and stream::Tumble.
// Not a test: run it by hand, on a quiet machine. It prints the thread's CPU time, the best of several rounds.
#include "base/prng.h"
#include "record/columns.h"
#include "store/expression.h"
#include "stream/tumble.h"

#include <catch2/catch_test_macros.hpp>

#include <bit>
#include <cstdio>
#include <time.h>

namespace weir {
namespace {

using record::ColumnType;
using store::Value;

constexpr std::size_t rows_per_batch = 1'000;
constexpr int batches = 200;
constexpr int rounds = 15;

record::Schema make_schema() {
    record::Schema schema;
    const std::pair<const char*, ColumnType> columns[] = {{"status", ColumnType::integer},
                                                          {"bytes", ColumnType::integer},
                                                          {"price", ColumnType::real},
                                                          {"path", ColumnType::text},
                                                          {"user", ColumnType::integer}};
    for (const auto& [name, type] : columns) {
        record::Column column;
        column.name = name;
        column.type = type;
        schema.columns.push_back(column);
    }
    return schema;
}

// 200,000 rows over 20 hours, mostly in order.
std::vector<record::ColumnBatch> make_batches(const record::Schema& schema) {
    std::vector<record::ColumnBatch> out(batches);
    Prng prng(1);
    const std::int64_t statuses[] = {200, 200, 200, 200, 200, 200, 304, 404, 500, 301};
    std::int64_t clock = 1'431'907'200'000;
    for (record::ColumnBatch& batch : out) {
        batch.reset(schema);
        for (std::size_t row = 0; row < rows_per_batch; ++row) {
            clock += static_cast<std::int64_t>(prng.below(720));
            const std::int64_t numbers[] = {statuses[prng.below(10)], static_cast<std::int64_t>(prng.below(100'000)),
                                            std::bit_cast<std::int64_t>(static_cast<double>(prng.below(10'000)) / 7), 0,
                                            static_cast<std::int64_t>(prng.below(100'000))};
            const std::string path = "/articles/" + std::to_string(prng.below(500));
            for (std::size_t c = 0; c < schema.columns.size(); ++c) {
                batch.columns[c].present.push_back(1);
                if (schema.columns[c].type == ColumnType::text) {
                    batch.columns[c].slice.push_back(
                        {static_cast<std::uint32_t>(batch.bytes.size()), static_cast<std::uint32_t>(path.size())});
                    batch.bytes += path;
                } else {
                    batch.columns[c].number.push_back(numbers[c]);
                }
            }
            batch.event_time_ms.push_back(clock - static_cast<std::int64_t>(prng.below(60'000)));
            ++batch.rows;
        }
    }
    return out;
}

double cpu_ns() {
    timespec at{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return static_cast<double>(at.tv_sec) * 1e9 + static_cast<double>(at.tv_nsec);
}

template <class Run>
void report(const char* what, Run run) {
    double best = 1e300;
    for (int round = 0; round < rounds; ++round) {
        const double begin = cpu_ns();
        run();
        best = std::min(best, (cpu_ns() - begin) / static_cast<double>(rows_per_batch) / batches);
    }
    std::printf("%-70s %7.1f ns/row\n", what, best);
}

void expression(const record::Schema& schema, const std::vector<record::ColumnBatch>& input,
                const std::vector<std::string>& sql) {
    auto compiled = store::Expression::compile(schema, sql);
    REQUIRE(compiled);
    store::Evaluated out;
    std::string name = "expression";
    for (const std::string& s : sql)
        name += "  " + s;
    report(name.c_str(), [&] {
        for (const record::ColumnBatch& batch : input)
            REQUIRE(compiled.value()->evaluate(batch, {}, out));
    });
}

void tumble(const char* what, const record::Schema& schema, const std::vector<record::ColumnBatch>& input,
            const stream::TumblePlan& plan) {
    std::vector<std::uint32_t> rows(rows_per_batch);
    for (std::size_t i = 0; i < rows.size(); ++i)
        rows[i] = static_cast<std::uint32_t>(i);
    report(what, [&] {
        const auto state = stream::make_memory_store();
        auto view = stream::Tumble::open(schema, plan, *state, "v");
        REQUIRE(view);
        std::vector<stream::LateRow> late;
        std::int64_t offset = 0;
        for (const record::ColumnBatch& batch : input) {
            REQUIRE(view.value()->process({0, offset, &batch, rows}, late));
            offset += static_cast<std::int64_t>(rows.size());
        }
        REQUIRE(view.value()->counts().seen == rows_per_batch * batches);
    });
}

TEST_CASE("cost of expressions and windows") {
    const record::Schema schema = make_schema();
    const std::vector<record::ColumnBatch> input = make_batches(schema);

    expression(schema, input, {"status % 123 = 0"});
    expression(schema, input, {"0.908 * bytes", "status"});
    expression(schema, input, {"CASE WHEN price < 100 THEN 'low' WHEN price < 1000 THEN 'mid' ELSE 'high' END"});
    expression(schema, input, {"lower(path)"});
    expression(schema, input, {"path"});

    auto checked = schema;
    checked.columns[0].check_sql = "status BETWEEN 100 AND 599";
    checked.columns[1].check_sql = "bytes >= 0";
    auto native = store::compile_checks(checked);
    REQUIRE(native);
    std::vector<std::int32_t> failed;
    report("two native checks", [&] {
        for (const record::ColumnBatch& batch : input)
            REQUIRE(native.value()->evaluate(batch, failed));
    });

    using stream::Aggregate;
    using Kind = stream::TumbleKey::Kind;
    stream::TumblePlan plan;
    plan.size_ms = 3'600'000;
    plan.lateness_ms = 7LL * 86'400'000;
    plan.delay_ms = 1'800'000;
    plan.keys = {{Kind::window_start, {}}, {Kind::input, {0, ""}}};
    plan.aggregates = {{Aggregate::count_star, {}}, {Aggregate::sum, {1, ""}}};
    tumble("tumble  window, status: count(*), sum(bytes)", schema, input, plan);
    stream::TumblePlan other = plan;
    other.aggregates.push_back({Aggregate::max, {2, ""}});
    other.aggregates.push_back({Aggregate::avg, {2, ""}});
    tumble("tumble  the same with max(price), avg(price)", schema, input, other);
    other = plan;
    other.keys[1].input = {4, ""};
    tumble("tumble  window, user (200,000 groups): count(*), sum(bytes)", schema, input, other);
    other = plan;
    other.keys[1].input = {3, ""};
    tumble("tumble  window, path: count(*), sum(bytes)", schema, input, other);
    other = plan;
    other.where_sql = "status < 400";
    tumble("tumble  WHERE status < 400", schema, input, other);
    other = plan;
    other.keys[1].input = {-1, "status / 100"};
    tumble("tumble  window, status / 100", schema, input, other);
    other = plan;
    other.aggregates.push_back({Aggregate::first, {1, ""}});
    other.aggregates.push_back({Aggregate::last, {3, ""}});
    tumble("tumble  window, status: the same with first(bytes), last(path)", schema, input, other);
    other = plan;
    other.aggregates.push_back({Aggregate::count_distinct, {3, ""}});
    tumble("tumble  window, status: the same with count(DISTINCT path)", schema, input, other);
    other.aggregates.back().input = {4, ""};
    tumble("tumble  the same with count(DISTINCT user), mostly new ones", schema, input, other);
    other = plan;
    other.emit = stream::Emit::final_rows;
    tumble("tumble  EMIT FINAL", schema, input, other);
    other = plan;
    other.emit_every_ms = 1000;
    tumble("tumble  EMIT CHANGES EVERY", schema, input, other);
}

}  // namespace
}  // namespace weir
