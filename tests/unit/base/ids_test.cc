#include "base/ids.h"

#include <catch2/catch_test_macros.hpp>

#include <type_traits>

using namespace weir;

static_assert(!std::is_convertible_v<LogIndex, Term> && !std::is_convertible_v<int, LogIndex>);
static_assert(!std::is_constructible_v<Term, LogIndex>);

TEST_CASE("ids compare with their kind") {
    CHECK(LogIndex(1) < LogIndex(2));
    CHECK(LogIndex() == LogIndex(0));
}

TEST_CASE("object ids: text, file text, and packed with both parts at their ends") {
    const ObjectId id{ShardId(3), LogIndex(17)};
    CHECK(id.text() == "3:17");
    CHECK(id.file_text() == "3_17");
    CHECK(!id.is_null());
    CHECK(ObjectId{}.is_null());
    for (const ObjectId& v : {id, ObjectId{}, ObjectId{ShardId(65'535), LogIndex((1ull << 48) - 1)}})
        CHECK(ObjectId::from_packed(v.packed()) == v);
    CHECK(ObjectId{ShardId(0), LogIndex(9)} < ObjectId{ShardId(1), LogIndex(1)});
    CHECK(std::hash<ObjectId>{}(id) == std::hash<ObjectId>{}(ObjectId{ShardId(3), LogIndex(17)}));
}
