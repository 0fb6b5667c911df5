// The recent past of some metrics, in memory: the last hour second by second and the last day in steps of 30 seconds,
// so that the page has charts without a Prometheus. A sample is a row of floats, one a series:
//
//   seconds    3,600 rows     bytes of both = 6,480 rows * 4 * series: 26 KB a series, touched as time passes
//   halves     2,880 rows     (of 30 s each, folded from the seconds: their mean, or their maximum)
//
// Time is the wall clock's at the start, then the monotonic one's: a second never comes twice. Where the two part by
// more than a few seconds (somebody set the clock) the history begins anew. Nothing survives a restart.
//
// Thread-safe: a lock, held for a copy of the rows asked for.
#pragma once

#include "base/result.h"
#include "obs/metrics.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace weir::obs {

enum class SeriesKind : std::uint8_t {
    gauge,     // the value as it is
    rate,      // of a counter, a second
    mean,      // of a histogram: of what was observed since the sample before; missing where that is nothing
    quantile,  // of a histogram, likewise; straight between the bounds of its bucket
};

struct SeriesSpec {
    std::string name;  // "events_stored"
    std::string unit;  // "events/s", "bytes", "seconds" ...
    std::string help;
    SeriesKind kind = SeriesKind::gauge;
    std::string metric;  // of obs::Metrics; all series with at least these labels
    Labels labels = {};
    double quantile = 0;  // 0.99
    bool folds_to_maximum() const { return kind == SeriesKind::quantile; }
};

class History {
  public:
    static constexpr std::int64_t second_ms = 1'000;
    static constexpr std::int64_t half_ms = 30'000;
    static constexpr std::size_t seconds_max = 3'600;
    static constexpr std::size_t halves_max = 2'880;
    static constexpr std::size_t points_max = 4'000;  // of one answer

    // `metrics` outlives this object.
    History(const Metrics& metrics, std::vector<SeriesSpec> series);
    ~History();
    History(const History&) = delete;
    History& operator=(const History&) = delete;

    const std::vector<SeriesSpec>& series() const { return series_; }
    static std::size_t bytes_for(std::size_t series) { return (seconds_max + halves_max) * sizeof(float) * series; }

    // Takes a sample, once a second. Seconds that were left out are missing.
    void sample(std::int64_t wall_ms, std::int64_t monotonic_us);

    struct Query {
        std::vector<std::size_t> series;  // indexes into series(); in the answer's order
        std::int64_t from_ms = 0, to_ms = 0;
        std::int64_t step_ms = 0;  // 0: the finest that gives at most 600 points
    };
    struct Answer {
        std::int64_t from_ms = 0;  // of the first point; a multiple of the step
        std::int64_t step_ms = 0;
        std::int64_t resolution_ms = 0;          // what the points were made of: second_ms or half_ms
        std::vector<std::vector<float>> values;  // NaN: missing
    };
    // Points of [from, to), each the mean or maximum of its step. Errors: invalid_argument (a step that is no multiple
    // of the resolution there, a range that has more than points_max steps, to before from).
    Result<Answer> read(const Query& query) const;
    // The time of the last sample; 0: there was none.
    std::int64_t last_ms() const;

  private:
    struct State;
    const Metrics& metrics_;
    const std::vector<SeriesSpec> series_;
    std::unique_ptr<State> state_;
};

// What the Overview and Metrics pages show of a node.
std::vector<SeriesSpec> node_series();

}  // namespace weir::obs
