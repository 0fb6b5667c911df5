#include "query/view_rows.h"

#include "small_shard.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace weir;
using namespace weir::query;
using namespace weir::query::test;

namespace {

struct Rows {
    SmallShard shard;
    std::unique_ptr<ViewRows> rows;
    ViewShape shape;

    Rows() {
        const auto stream = shard.add_stream(5, access_statement);
        shard.add_view(9, *stream,
                       "CREATE MATERIALIZED VIEW hourly AS SELECT window_start, status, count(*) AS n FROM "
                       "TUMBLE(access, 1h) GROUP BY window_start, status");
        shard.add_view(10, *stream,
                       "CREATE MATERIALIZED VIEW young AS SELECT window_start, count(*) AS n FROM TUMBLE(access, 1h) "
                       "GROUP BY window_start",
                       "building");
        put(1, 200, 5);
        for (int i = 2; i <= 200; ++i)
            put(i, 100 + i, 1);
        shard.entry(*stream, 100, {}, 11);
        shard.commit();
        rows = must(ViewRows::open(shard.disk(), shard.dir()));
        shape = must(rows->shape("hourly"));
    }
    static std::string key(int i) { return std::string("k\0", 2) + static_cast<char>(i); }
    void put(int i, int status, int n) {
        std::string hex;
        for (const char c : key(i)) {
            constexpr std::string_view digits = "0123456789abcdef";
            hex += digits[static_cast<unsigned char>(c) >> 4];
            hex += digits[static_cast<unsigned char>(c) & 15];
        }
        shard.exec("INSERT OR REPLACE INTO v0_9 VALUES (x'" + hex + "', 3600000, " + std::to_string(status) + ", " +
                   std::to_string(n) + ")");
    }
};

}  // namespace

TEST_CASE("a view's shape: names and types, and why there is none") {
    Rows r;
    REQUIRE(r.shape.columns.size() == 3);
    CHECK(r.shape.columns[0].name == "window_start");
    CHECK(r.shape.columns[0].type == "TIMESTAMP");
    CHECK(r.shape.id.index == LogIndex(9));
    CHECK(r.rows->shape("nothing").error().code == Errc::not_found);
    CHECK(r.rows->shape("access").error().code == Errc::not_found);
    CHECK(r.rows->shape("hourly_late").error().code == Errc::not_found);
    CHECK(r.rows->shape("sys.views").error().code == Errc::not_found);
    CHECK(r.rows->shape("young").error().code == Errc::building);
    CHECK(r.rows->shape("HOURLY").value().id == r.shape.id);
}

TEST_CASE("a view's rows page by page are all of them, in key order, at an index") {
    Rows r;
    for (const int limit : {1, 7, 100, 200, 1000}) {
        std::string after;
        int count = 0;
        for (bool begins = true;; begins = false) {
            int got = 0;
            const LogIndex at = must(r.rows->page(r.shape, begins, after,
                                                  [&](std::string_view key, const std::vector<store::Value>* values) {
                                                      REQUIRE(values != nullptr);
                                                      CHECK(key > after);
                                                      after = key;
                                                      CHECK(values->size() == 3);
                                                      return ++got < limit;
                                                  }));
            CHECK(at == LogIndex(11));
            count += got;
            if (got < limit) break;
        }
        CHECK(count == 200);
    }
}

TEST_CASE("a view's rows by key, those that are gone among them") {
    Rows r;
    std::vector<std::string> owned;
    for (int i = 1; i <= 201; ++i)
        owned.push_back(Rows::key(i));
    const std::vector<std::string_view> keys(owned.begin(), owned.end());
    int there = 0, gone = 0;
    std::string first;
    must(r.rows->rows(r.shape, keys, [&](std::string_view key, const std::vector<store::Value>* values) {
        if (values == nullptr) {
            ++gone;
            CHECK(key == Rows::key(201));
            return true;
        }
        ++there;
        if (key == Rows::key(1)) first = shown(*values);
        return true;
    }));
    CHECK(there == 200);
    CHECK(gone == 1);
    CHECK(first == "3600000|200|5");
    int seen = 0;
    must(r.rows->rows(r.shape, keys, [&](std::string_view, const std::vector<store::Value>*) { return ++seen < 70; }));
    CHECK(seen == 70);
    r.shard.exec("DELETE FROM _objects WHERE id = 9");
    CHECK(r.rows->rows(r.shape, keys, [](std::string_view, const std::vector<store::Value>*) { return true; })
              .error()
              .code == Errc::not_found);
}
