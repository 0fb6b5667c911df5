// contract.md, "Events" and "Time": what stands in for an event time that is not there.
#include "unit/stream/tumble_fixture.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::stream {
namespace {

// Feeds one record: an event time, or none, in an entry of this append time.
std::vector<LateRow> feed(Tumble& view, std::int64_t offset, std::int64_t event_ms, std::int64_t append_ms) {
    record::ColumnBatch batch;
    batch.reset(events_schema());
    store::add_row(events_schema(), batch, {n(200), n(1)});
    batch.event_time_ms.back() = event_ms;
    const std::uint32_t row = 0;
    std::vector<LateRow> late;
    REQUIRE(view.process({0, offset, &batch, {&row, 1}, append_ms}, late));
    return late;
}

std::string rows(Tumble& view) {
    std::string out;
    REQUIRE(view.take_dirty_rows(
        [&](std::string_view, const std::vector<Value>& row) -> Status {
            for (const Value& value : row)
                out += show(value) + ",";
            out += " ";
            return {};
        },
        [](std::string_view) -> Status { return {}; }));
    return out;
}

TEST_CASE("an event without an event time has that of its append, for its window, its lateness and the watermark") {
    auto state = make_memory_store();
    auto view = Tumble::open(events_schema(), simple_plan(), *state, "v/").value();
    constexpr std::int64_t none = record::event_time_is_append_time;
    CHECK(feed(*view, 0, none, 5300).empty());
    CHECK(view->watermark_ms(0) == 5300);
    CHECK(feed(*view, 1, none, 5999).empty());
    CHECK(feed(*view, 2, 7000, 6000).empty());  // one that has its own beside them
    CHECK(rows(*view) == "5000,200,2,2, 7000,200,1,1, ");
    const std::vector<LateRow> late = feed(*view, 3, none, 6001);
    REQUIRE(late.size() == 1);
    CHECK(late[0].window_start_ms == 6000);
    CHECK(late[0].event_time_ms == 6001);
    CHECK(view->watermark_ms(0) == 7000);
}

}  // namespace
}  // namespace weir::stream
