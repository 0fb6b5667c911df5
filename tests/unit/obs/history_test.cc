#include "obs/history.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <string>
#include <vector>

using namespace weir;
using namespace weir::obs;

namespace {

constexpr std::int64_t start_ms = 1'700'000'040'000;  // a multiple of all steps below
static_assert(start_ms % 120'000 == 0);

// A counter, a gauge and a histogram, sampled second by second.
struct Watched {
    Metrics metrics;
    Counter counter = metrics.counter("weir_things_total", "Things.", {{"kind", "a"}});
    Gauge gauge = metrics.gauge("weir_depth_bytes", "Depth.");
    Histogram histogram = metrics.histogram("weir_wait_seconds", "Waits.", {0.1, 0.2, 0.4});
    History history{metrics,
                    {{"things", "things/s", "", SeriesKind::rate, "weir_things_total"},
                     {"depth", "bytes", "", SeriesKind::gauge, "weir_depth_bytes"},
                     {"wait_mean", "seconds", "", SeriesKind::mean, "weir_wait_seconds"},
                     {"wait_p50", "seconds", "", SeriesKind::quantile, "weir_wait_seconds", {}, 0.5},
                     {"absent", "", "", SeriesKind::gauge, "weir_no_such_thing"}}};
    std::int64_t second = 0;
    void tick() {
        history.sample(start_ms + second * 1000, 77'000'000 + second * 1'000'000);
        ++second;
    }
    std::string text(std::size_t series, std::int64_t from_s, std::int64_t to_s, std::int64_t step_s) {
        const auto answer = history.read({{series}, start_ms + from_s * 1000, start_ms + to_s * 1000, step_s * 1000});
        if (!answer) return errc_name(answer.error().code);
        std::string out;
        for (const float value : answer.value().values[0])
            out += std::isnan(value)
                       ? "- "
                       : std::to_string(static_cast<int>(std::lround(static_cast<double>(value) * 1000))) + " ";
        return out;
    }
};

}  // namespace

TEST_CASE("history: rates, gauges, means and quantiles, second by second") {
    Watched w;
    w.gauge.set(5);
    w.counter.add(100);
    w.tick();
    w.counter.add(7);
    w.histogram.observe(0.05);
    w.histogram.observe(0.15);
    w.histogram.observe(0.15);
    w.histogram.observe(0.15);
    w.tick();
    w.gauge.set(9);
    w.tick();
    CHECK(w.text(0, 0, 3, 1) == "- 7000 0 ");
    CHECK(w.text(1, 0, 3, 1) == "5000 5000 9000 ");
    CHECK(w.text(2, 0, 3, 1) == "- 125 - ");
    CHECK(w.text(3, 0, 3, 1) == "- 133 - ");
    CHECK(w.text(4, 0, 3, 1) == "- - - ");
    // Steps are means, of quantiles the maximum; what was not there does not count.
    CHECK(w.text(0, 0, 4, 2) == "7000 0 ");
    CHECK(w.text(1, 0, 4, 4) == "6333 ");
    CHECK(w.text(3, 0, 30, 30) == "133 ");
    CHECK(w.history.last_ms() == start_ms + 2000);
}

TEST_CASE("history: a second that was left out is missing, and one that comes twice is one") {
    Watched w;
    w.gauge.set(1);
    w.tick();
    w.second += 2;
    w.counter.add(6);
    w.tick();
    --w.second;
    w.gauge.set(2);
    w.tick();
    CHECK(w.text(1, 0, 5, 1) == "1000 - - 1000 - ");
    CHECK(w.text(0, 0, 4, 1) == "- - - 2000 ");
    // The wall clock is not followed second by second, but when somebody sets it.
    w.history.sample(start_ms + 4000 + 3000, 77'000'000 + 4'000'000);
    CHECK(w.history.last_ms() == start_ms + 4000);
    w.history.sample(start_ms + 86'400'000, 77'000'000 + 5'000'000);
    CHECK(w.history.last_ms() == start_ms + 86'400'000);
    CHECK(w.text(1, 0, 5, 1) == "- - - - - ");
}

TEST_CASE("history: an hour in seconds, a day in halves of a minute, and no more") {
    Watched w;
    for (int i = 0; i < 90'000; ++i) {
        w.gauge.set(i);
        if (i % 60 == 0) w.counter.add(60);
        w.tick();
    }
    CHECK(w.text(1, 89'990, 90'000, 2) == "89990500 89992500 89994500 89996500 89998500 ");
    CHECK(w.text(1, 86'400, 86'402, 1) == "86400000 86401000 ");
    CHECK(w.text(1, 86'399, 86'402, 1) == "invalid_argument");  // beyond the hour: 30 s
    CHECK(w.text(1, 60'000, 60'090, 30) == "60014500 60044500 60074500 ");
    CHECK(w.text(0, 60'000, 60'120, 60) == "1000 1000 ");
    CHECK(w.text(1, 3'540, 3'600, 30) == "- 3584500 ");  // a day back, and what is older
    CHECK(w.text(1, 0, 90'000, 20) == "invalid_argument");
    CHECK(w.text(1, 86'400, 90'000, 1).size() > 3600);
    CHECK(w.text(1, 10, 5, 1) == "invalid_argument");
    const auto whole = w.history.read({{0, 1, 4}, start_ms, start_ms + 90'000'000, 0});
    REQUIRE(whole);
    CHECK(whole.value().resolution_ms == History::half_ms);
    CHECK(whole.value().step_ms == 150'000);
    CHECK(whole.value().values.size() == 3);
    CHECK(whole.value().values[0].size() == 601);  // the first step begins before `from`
    CHECK(w.history.read({{0}, start_ms + 86'400'000, start_ms + 90'000'000, 0}).value().step_ms == 6'000);
    CHECK_FALSE(w.history.read({{0}, 0, start_ms, 30'000}));
    CHECK(History::bytes_for(node_series().size()) < 1'000'000);
}

TEST_CASE("history: a step of a thousand years costs what there is, and not what there could be") {
    Watched w;
    for (int i = 0; i < 100; ++i) {
        w.gauge.set(i);
        w.tick();
    }
    const auto answer = w.history.read({{1}, 0, start_ms + 100'000, (std::int64_t{1} << 62) / 1000 * 1000});
    REQUIRE(answer);
    CHECK(answer.value().values[0] == std::vector<float>{49.5F});
}

TEST_CASE("metrics are read by name and labels, added up") {
    Metrics metrics;
    metrics.counter("weir_a_total", "A.", {{"x", "1"}, {"y", "1"}}).add(3);
    metrics.counter("weir_a_total", "A.", {{"x", "1"}, {"y", "2"}}).add(4);
    metrics.counter("weir_a_total", "A.", {{"x", "1"}, {"y", "2"}}).add(1);  // the same series
    metrics.on_scrape("weir_b", "B.", false, [] {
        return std::vector<Metrics::Sample>{{{{"k", "v"}}, 2}, {{{"k", "w"}}, 5}};
    });
    auto h = metrics.histogram("weir_h", "H.", {1, 2});
    h.observe(0.5);
    h.observe(9);
    CHECK(metrics.read("weir_a_total").value == 8);
    CHECK(metrics.read("weir_a_total", {{"y", "2"}}).value == 5);
    CHECK_FALSE(metrics.read("weir_a_total", {{"y", "3"}}).found);
    CHECK_FALSE(metrics.read("weir_none").found);
    CHECK(metrics.read("weir_b").value == 7);
    CHECK(metrics.read("weir_b", {{"k", "w"}}).value == 5);
    const auto reading = metrics.read("weir_h");
    CHECK(reading.count == 2);
    CHECK(reading.value == 9.5);
    REQUIRE(reading.buckets.size() == 3);
    CHECK(reading.buckets[1].second == 1);
    CHECK(reading.buckets[2].second == 2);
}
