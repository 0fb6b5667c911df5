#include "query/append_times.h"

#include "apply/tables.h"
#include "small_shard.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::query;
using namespace weir::query::test;

TEST_CASE("rule: the journal holds what a batch cannot: the append times of one partition, in rising order", "[rule]") {
    SmallShard shard;
    const auto stream = shard.add_stream(5, access_statement);
    shard.entry(*stream, 100, {{0, {access_event(0, 1), access_event(1, 2)}}, {1, {access_event(2, 3)}}});
    shard.entry(*stream, 200, {{1, {access_event(3, 4)}}});
    shard.entry(*stream, 300, {{0, {access_event(4, 5)}}, {-1, {{7, "bad"}}}});
    const std::string journal = apply::stream_dir(shard.dir(), stream->id) + "/journal";
    const auto state = shard.parts(stream).journal;
    auto times = AppendTimes::open(shard.disk(), journal, state, 0).value();
    CHECK(times.at(0).value() == 100);
    CHECK(times.at(1).value() == 100);
    CHECK(times.at(2).value() == 300);
    CHECK(times.at(2).value() == 300);
    CHECK_FALSE(times.at(3).value().has_value());
    auto skipping = AppendTimes::open(shard.disk(), journal, state, 1).value();
    CHECK(skipping.at(1).value() == 200);
    CHECK_FALSE(skipping.at(0).value().has_value());
    CHECK_FALSE(AppendTimes::open(shard.disk(), journal, {}, 1).value().at(0).value().has_value());
}
