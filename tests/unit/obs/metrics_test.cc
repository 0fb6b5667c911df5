#include "obs/metrics.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <thread>
#include <vector>

using weir::obs::Metrics;

namespace {

bool holds(const std::string& text, const std::string& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}
std::size_t times(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
        count++;
    return count;
}

}  // namespace

TEST_CASE("counters, gauges and histograms stand in the exposition") {
    Metrics metrics;
    auto counter = metrics.counter("weir_events_total", "Events.", {{"result", "accepted"}});
    counter.add();
    counter.add(41);
    metrics.gauge("weir_depth_bytes", "Depth.").set(-2.5);
    auto histogram = metrics.histogram("weir_flush_seconds", "Flushes.", {0.001, 0.01});
    histogram.observe(0.0005);
    histogram.observe(0.5);
    const std::string text = metrics.text();
    CHECK(holds(text, "# HELP weir_events_total Events."));
    CHECK(holds(text, "# TYPE weir_events_total counter"));
    CHECK(holds(text, "weir_events_total{result=\"accepted\"} 42"));
    CHECK(holds(text, "# TYPE weir_depth_bytes gauge"));
    CHECK(holds(text, "weir_depth_bytes -2.5"));
    CHECK(holds(text, "weir_flush_seconds_bucket{le=\"0.01\"} 1"));
    CHECK(holds(text, "weir_flush_seconds_bucket{le=\"+Inf\"} 2"));
    CHECK(holds(text, "weir_flush_seconds_count 2"));
    CHECK(text.ends_with("\n"));
}

TEST_CASE("large counts keep every digit") {
    Metrics metrics;
    metrics.counter("weir_bytes_total", "Bytes.").add(1234567890123.0);
    const std::string text = metrics.text();
    CHECK(holds(text, "weir_bytes_total 1234567890123"));
}

TEST_CASE("one name and the same labels are one metric, other labels another") {
    Metrics metrics;
    metrics.counter("weir_x_total", "X.", {{"a", "1"}}).add();
    metrics.counter("weir_x_total", "X.", {{"a", "1"}}).add();
    metrics.counter("weir_x_total", "X.", {{"a", "2"}}).add();
    const std::string text = metrics.text();
    CHECK(holds(text, "weir_x_total{a=\"1\"} 2"));
    CHECK(holds(text, "weir_x_total{a=\"2\"} 1"));
    CHECK(times(text, "# TYPE weir_x_total") == 1);
}

TEST_CASE("label values are escaped") {
    Metrics metrics;
    metrics.gauge("weir_g", "G.", {{"name", "a\"b\\c\nd"}}).set(1);
    CHECK(holds(metrics.text(), "weir_g{name=\"a\\\"b\\\\c\\nd\"} 1"));
}

TEST_CASE("what exists elsewhere is read at the scrape") {
    Metrics metrics;
    double value = 1;
    metrics.on_scrape("weir_later_total", "Later.", true, [&] {
        return std::vector<Metrics::Sample>{{{{"stream", "a\nb"}}, value}};
    });
    metrics.on_scrape("weir_later_total", "Later.", true, [&] {
        return std::vector<Metrics::Sample>{{{{"stream", "c"}}, value + 1}};
    });
    metrics.on_scrape("weir_none", "None.", false, [] { return std::vector<Metrics::Sample>(); });
    value = 5;
    const std::string text = metrics.text();
    CHECK(holds(text, "# TYPE weir_later_total counter"));
    CHECK(holds(text, "weir_later_total{stream=\"a\\nb\"} 5"));
    CHECK(holds(text, "weir_later_total{stream=\"c\"} 6"));
    CHECK(times(text, "# HELP weir_later_total") == 1);
    CHECK(times(text, "weir_none") == 0);
}

TEST_CASE("lines are those of the exposition") {
    Metrics metrics;
    metrics.counter("weir_b_total", "b", {{"s", "x"}}).add(2);
    metrics.gauge("weir_a", "a").set(-1.5);
    const auto histogram = metrics.histogram("weir_h_seconds", "h", {0.1, 2}, {{"r", "/"}});
    histogram.observe(1);
    histogram.observe(5);
    metrics.on_scrape("weir_c", "c", false, [] { return std::vector<Metrics::Sample>{{{{"p", "1"}}, 7}}; });
    std::string all;
    for (const Metrics::Line& line : metrics.lines()) {
        all += line.name;
        for (const auto& [name, value] : line.labels)
            all += " " + name + "=" + value;
        all += " " + std::to_string(line.value).substr(0, 4) + "\n";
        CHECK(metrics.text().find("\n" + line.name) != std::string::npos);
    }
    CHECK(all ==
          "weir_a -1.5\nweir_b_total s=x 2.00\nweir_c p=1 7.00\n"
          "weir_h_seconds_bucket le=0.1 r=/ 0.00\nweir_h_seconds_bucket le=2 r=/ 1.00\n"
          "weir_h_seconds_bucket le=+Inf r=/ 2.00\nweir_h_seconds_sum r=/ 6.00\nweir_h_seconds_count r=/ 2.00\n");
}

TEST_CASE("a refused registration counts nothing and harms nothing") {
    Metrics metrics;
    metrics.counter("weir_a_total", "A.").add();
    metrics.gauge("weir_a_total", "taken by another type").set(7);
    metrics.counter("not a name", "N.").add();
    metrics.counter("weir_b_total", "B.", {{"bad label", "v"}}).add();
    metrics.histogram("weir_h", "H.", {2, 1}).observe(1);
    metrics.on_scrape("9x", "N.", false, [] { return std::vector<Metrics::Sample>{{{}, 1}}; });
    weir::obs::Counter unregistered;
    unregistered.add();
    metrics.counter("weir_a_total", "A.").add(-1);
    const std::string text = metrics.text();
    CHECK(holds(text, "weir_a_total 1"));
    CHECK(times(text, "weir_h") == 0);
    CHECK(times(text, "weir_b_total{") == 0);
}

TEST_CASE("adding, registering and scraping go together") {
    Metrics metrics;
    auto shared = metrics.counter("weir_shared_total", "S.");
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; t++)
            threads.emplace_back([&metrics, shared, t] {
                auto own = metrics.counter("weir_own_total", "O.", {{"t", std::to_string(t)}});
                for (int i = 0; i < 2000; i++) {
                    shared.add();
                    own.add();
                    if (i % 500 == 0) (void)metrics.text();
                }
            });
    }
    const std::string text = metrics.text();
    CHECK(holds(text, "weir_shared_total 8000"));
    CHECK(holds(text, "weir_own_total{t=\"3\"} 2000"));
}
