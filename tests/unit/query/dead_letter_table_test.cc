#include "query/dead_letter_table.h"

#include "small_shard.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace weir;
using namespace weir::query;
using namespace weir::query::test;
using store::Comparison;

TEST_CASE("rule: dead letters are records of partition -1: a table with every column, pruned by offset and time",
          "[rule]") {
    SmallShard shard;
    const auto stream = shard.add_stream(5, access_statement);
    shard.entry(*stream, 1,
                {{-1,
                  {{100,
                    "{bad",
                    std::nullopt,
                    {{"reason", "malformed_json"}, {"message", "at byte 1"}, {"content_type", "application/json"}}},
                   {200, std::string("\xff\x00", 2), std::nullopt, {{"reason", "not_null"}, {"column", "status"}}}}}});
    shard.entry(*stream, 2, {{-1, {{300, "third"}}}});
    const auto table = make_dead_letter_table(shard.disk(), apply::partition_dir(shard.dir(), stream->id, -1),
                                              shard.bound(*stream, -1));
    const auto rows = [&](const std::vector<store::Constraint>& where) {
        auto scan = table->open_scan(std::vector<bool>(9, true), where).value();
        std::vector<std::string> out;
        while (scan->next().value()) {
            std::vector<store::Value> values;
            for (int c = 0; c < 9; ++c)
                values.push_back(scan->column(c));
            out.push_back(shown(values));
        }
        return out;
    };
    using Rows = std::vector<std::string>;
    const std::string first = "0|-1|0|100|malformed_json|NULL|at byte 1|{bad|application/json";
    const std::string second = "1|-1|1|200|not_null|status|NULL|blob:" + std::string("\xff\x00", 2) + "|NULL";
    const std::string third = "2|-1|2|300|NULL|NULL|NULL|third|NULL";
    CHECK(rows({}) == Rows{first, second, third});
    CHECK(rows({{0, Comparison::gt, store::Value::of(std::int64_t{0})}}) == Rows{second, third});
    CHECK(rows({{2, Comparison::eq, store::Value::of(std::int64_t{1})}}) == Rows{second});
    CHECK(rows({{2, Comparison::gt, store::Value::of(INT64_MAX)}}) == Rows{});
    CHECK(rows({{3, Comparison::lt, store::Value::of(INT64_MIN)}}) == Rows{});
    CHECK(table->columns()[3].sql_type == "TIMESTAMP");
    CHECK(table->estimated_rows() == 3);
    CHECK(table->can_prune(3, Comparison::ge));
    CHECK_FALSE(table->can_prune(4, Comparison::eq));
}

TEST_CASE("dead letters: no column is NULL, and so is what is larger than a query takes") {
    SmallShard shard;
    const auto stream = shard.add_stream(5, access_statement);
    const std::string most(15 << 20, 'x');
    shard.entry(*stream, 1,
                {{-1,
                  {{100, most, std::nullopt, {{"reason", "too_large"}, {"column", ""}}},
                   {100, most + "x", std::nullopt, {{"reason", "too_large"}, {"column", ""}}}}}});
    const auto table = make_dead_letter_table(shard.disk(), apply::partition_dir(shard.dir(), stream->id, -1),
                                              shard.bound(*stream, -1));
    auto scan = table->open_scan(std::vector<bool>(9, true), {}).value();
    REQUIRE(scan->next().value());
    CHECK(scan->column(5).type == store::ValueType::null);
    CHECK(scan->column(7).text == most);
    REQUIRE(scan->next().value());
    CHECK(scan->column(7).type == store::ValueType::null);
    CHECK(scan->column(4).text == "too_large");
}

TEST_CASE("what is text") {
    CHECK(is_text(""));
    CHECK(is_text("a\n\x7f"));
    CHECK(is_text("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
    CHECK(is_text("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"));
    CHECK_FALSE(is_text(std::string_view("a\0b", 3)));
    CHECK_FALSE(is_text("\x80"));
    CHECK_FALSE(is_text("\xc3"));
    CHECK_FALSE(is_text("\xc0\x80"));
    CHECK_FALSE(is_text("\xe0\x9f\xbf"));
    CHECK_FALSE(is_text("\xed\xa0\x80"));
    CHECK_FALSE(is_text("\xe2\x82"));
    CHECK_FALSE(is_text("\xf0\x8f\xbf\xbf"));
    CHECK_FALSE(is_text("\xf4\x90\x80\x80"));
    CHECK_FALSE(is_text("\xf5\x80\x80\x80"));
}
