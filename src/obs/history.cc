#include "obs/history.h"

#include "base/check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <utility>

namespace weir::obs {
namespace {

constexpr float missing = std::numeric_limits<float>::quiet_NaN();
constexpr std::int64_t clock_gap_ms = 5'000;  // the wall clock was set
constexpr std::int64_t points_wanted = 600;

// The last rows of a fixed number, by their step since the epoch.
class Ring {
  public:
    Ring(std::size_t rows, std::size_t width)
        : rows_(rows), width_(width), values_(new float[rows * width]) {}  // not touched before it is written

    bool empty() const { return count_ == 0; }
    bool full() const { return count_ == rows_; }
    std::int64_t last() const { return last_; }
    std::int64_t first() const { return last_ - static_cast<std::int64_t>(count_) + 1; }
    void clear() { count_ = 0; }
    // The row of `step`, which is behind the last one; steps that are left out are missing.
    float* append(std::int64_t step) {
        CHECK(empty() || step > last_);
        if (empty() || step - last_ >= static_cast<std::int64_t>(rows_)) {
            count_ = 0;
            last_ = step - 1;
        }
        while (last_ < step) {
            ++last_;
            count_ = std::min(count_ + 1, rows_);
            std::fill_n(row(last_), width_, missing);
        }
        return row(step);
    }
    const float* find(std::int64_t step) const {
        return empty() || step < first() || step > last_ ? nullptr : const_cast<Ring*>(this)->row(step);
    }

  private:
    float* row(std::int64_t step) {
        return values_.get() + static_cast<std::size_t>(step % static_cast<std::int64_t>(rows_)) * width_;
    }
    const std::size_t rows_, width_;
    std::unique_ptr<float[]> values_;
    std::size_t count_ = 0;
    std::int64_t last_ = -1;
};

// Several values into one.
struct Fold {
    double sum = 0;
    double maximum = 0;
    std::uint32_t count = 0;
    void add(float value) {
        if (std::isnan(value)) return;
        maximum = count == 0 ? static_cast<double>(value) : std::max(maximum, static_cast<double>(value));
        sum += static_cast<double>(value);
        ++count;
    }
    float value(bool to_maximum) const {
        if (count == 0) return missing;
        return static_cast<float>(to_maximum ? maximum : sum / count);
    }
};

// Where the q-th of what came between two readings lies; NaN: nothing came.
double quantile_of(const Metrics::Reading& before, const Metrics::Reading& now, double q) {
    const double observed = static_cast<double>(now.count - before.count);
    if (now.count <= before.count) return std::nan("");
    const double wanted = q * observed;
    double below = 0, lower = 0;
    for (std::size_t i = 0; i < now.buckets.size(); ++i) {
        const std::uint64_t old = i < before.buckets.size() ? before.buckets[i].second : 0;
        const double at_or_below = static_cast<double>(now.buckets[i].second - old);
        const double bound = now.buckets[i].first;
        if (at_or_below >= wanted && at_or_below > below) {
            if (std::isinf(bound)) return lower;  // above all bounds: at least the last of them
            return lower + (bound - lower) * (wanted - below) / (at_or_below - below);
        }
        below = at_or_below;
        lower = bound;
    }
    return lower;
}

}  // namespace

struct History::State {
    explicit State(std::size_t width)
        : seconds(seconds_max, width), halves(halves_max, width), folds(width), before(width) {}

    mutable std::mutex mutex;
    Ring seconds, halves;
    std::vector<Fold> folds;               // of the half that is not whole yet
    std::vector<Metrics::Reading> before;  // at the last sample
    std::int64_t before_us = 0;            // when that was
    std::int64_t wall_at_start_ms = 0, monotonic_at_start_us = 0;
    bool started = false;

    void restart(std::int64_t wall_ms, std::int64_t monotonic_us) {
        seconds.clear();
        halves.clear();
        std::ranges::fill(folds, Fold{});
        wall_at_start_ms = wall_ms;
        monotonic_at_start_us = monotonic_us;
        started = true;
    }
};

History::History(const Metrics& metrics, std::vector<SeriesSpec> series)
    : metrics_(metrics), series_(std::move(series)), state_(std::make_unique<State>(series_.size())) {}
History::~History() = default;

void History::sample(std::int64_t wall_ms, std::int64_t monotonic_us) {
    std::vector<Metrics::Reading> now;
    for (const SeriesSpec& spec : series_)
        now.push_back(metrics_.read(spec.metric, spec.labels));  // without our lock: sources take their time

    std::lock_guard lock(state_->mutex);
    State& s = *state_;
    const auto own_ms = [&] { return s.wall_at_start_ms + (monotonic_us - s.monotonic_at_start_us) / 1000; };
    const bool first = !s.started;
    if (first || std::abs(own_ms() - wall_ms) > clock_gap_ms) s.restart(wall_ms, monotonic_us);
    const std::int64_t second = own_ms() / second_ms;
    if (!s.seconds.empty() && second <= s.seconds.last()) return;
    const double passed_s = static_cast<double>(monotonic_us - s.before_us) / 1e6;
    const std::int64_t half = second * second_ms / half_ms;
    if (!s.seconds.empty()) {
        const std::int64_t half_before = s.seconds.last() * second_ms / half_ms;
        if (half > half_before) {
            float* row = s.halves.append(half_before);
            for (std::size_t i = 0; i < series_.size(); ++i)
                row[i] = std::exchange(s.folds[i], Fold{}).value(series_[i].folds_to_maximum());
        }
    }
    float* row = s.seconds.append(second);
    for (std::size_t i = 0; i < series_.size(); ++i) {
        const Metrics::Reading &then = s.before[i], &present = now[i];
        double value = std::nan("");
        if (present.found) {
            switch (series_[i].kind) {
                case SeriesKind::gauge:
                    value = present.value;
                    break;
                case SeriesKind::rate:
                    // A counter that appears began at 0.
                    if (!first && passed_s > 0) value = std::max(present.value - then.value, 0.0) / passed_s;
                    break;
                case SeriesKind::mean:
                    if (!first && present.count > then.count)
                        value = (present.value - then.value) / static_cast<double>(present.count - then.count);
                    break;
                case SeriesKind::quantile:
                    if (!first) value = quantile_of(then, present, series_[i].quantile);
                    break;
            }
        }
        row[i] = static_cast<float>(value);
        s.folds[i].add(row[i]);
    }
    s.before = std::move(now);
    s.before_us = monotonic_us;
}

Result<History::Answer> History::read(const Query& query) const {
    const auto refused = [](std::string why) { return Error{Errc::invalid_argument, std::move(why)}; };
    std::lock_guard lock(state_->mutex);
    const State& s = *state_;
    if (query.from_ms < 0 || query.to_ms < query.from_ms) return refused("`from` lies behind `to`");
    Answer answer;
    // Seconds where they reach back far enough; while they are not full nothing is older.
    const bool recent = !s.seconds.full() || query.from_ms >= s.seconds.first() * second_ms;
    answer.resolution_ms = recent ? second_ms : half_ms;
    const std::int64_t resolution = answer.resolution_ms;
    answer.step_ms = query.step_ms;
    if (answer.step_ms == 0) {
        const std::int64_t least = (query.to_ms - query.from_ms + points_wanted - 1) / points_wanted;
        answer.step_ms = std::max<std::int64_t>(1, (least + resolution - 1) / resolution) * resolution;
    }
    if (answer.step_ms < resolution || answer.step_ms % resolution != 0)
        return refused("so far back there is a point every " + std::to_string(resolution / 1000) +
                       " s: `step` must be a multiple of that");
    answer.from_ms = query.from_ms - query.from_ms % answer.step_ms;
    const std::int64_t steps = (query.to_ms - answer.from_ms + answer.step_ms - 1) / answer.step_ms;
    if (steps > static_cast<std::int64_t>(points_max))
        return refused("that is " + std::to_string(steps) + " points a series, " + std::to_string(points_max) +
                       " come at once: a larger `step` or a shorter time");
    const Ring& ring = resolution == second_ms ? s.seconds : s.halves;
    const std::int64_t rows = answer.step_ms / resolution;
    answer.values.assign(query.series.size(), std::vector<float>(static_cast<std::size_t>(steps), missing));
    std::vector<Fold> folds(query.series.size());
    for (std::int64_t step = 0; step < steps; ++step) {
        std::ranges::fill(folds, Fold{});
        // Only what there is: a step may be of a hundred years.
        const std::int64_t first = (answer.from_ms + step * answer.step_ms) / resolution;
        const std::int64_t end = std::min(first + rows, ring.last() + 1);
        for (std::int64_t r = std::max(first, ring.first()); r < end; ++r) {
            const float* row = ring.find(r);
            for (std::size_t i = 0; i < folds.size(); ++i)
                folds[i].add(row[query.series[i]]);
        }
        for (std::size_t i = 0; i < folds.size(); ++i)
            answer.values[i][static_cast<std::size_t>(step)] =
                folds[i].value(series_[query.series[i]].folds_to_maximum());
    }
    return answer;
}

std::int64_t History::last_ms() const {
    std::lock_guard lock(state_->mutex);
    return state_->seconds.empty() ? 0 : state_->seconds.last() * second_ms;
}

std::vector<SeriesSpec> node_series() {
    using enum SeriesKind;
    const auto events = [](const char* result) {
        return SeriesSpec{"events_" + std::string(result),
                          "events/s",
                          "Events that were " + std::string(result),
                          rate,
                          "weir_events_total",
                          {{"result", result}}};
    };
    const auto requests = [](const char* route) {
        return SeriesSpec{std::string(route) + "_requests",
                          "requests/s",
                          "Requests answered at the route " + std::string(route),
                          rate,
                          "weir_http_requests_total",
                          {{"route", route}}};
    };
    const auto seconds = [](const char* route, double q, const char* suffix) {
        return SeriesSpec{std::string(route) + "_seconds_" + suffix,
                          "seconds",
                          "Time to answer at the route " + std::string(route),
                          quantile,
                          "weir_http_request_duration_seconds",
                          {{"route", route}},
                          q};
    };
    return {
        events("stored"),
        events("duplicate"),
        events("dead_lettered"),
        events("refused"),
        {"late_events", "events/s", "Events late for a window", rate, "weir_late_events_total"},
        {"ingest_bytes", "bytes/s", "Bytes of ingest bodies as received", rate, "weir_ingest_bytes_total"},
        requests("ingest"),
        seconds("ingest", 0.5, "p50"),
        seconds("ingest", 0.99, "p99"),
        requests("sql"),
        seconds("sql", 0.5, "p50"),
        seconds("sql", 0.99, "p99"),
        {"flushes", "flushes/s", "fdatasync calls of the write-ahead log", rate, "weir_wal_flushes_total"},
        {"flush_seconds_mean", "seconds", "Time of one such call", mean, "weir_wal_flush_seconds"},
        {"flush_seconds_p99", "seconds", "Time of one such call", quantile, "weir_wal_flush_seconds", {}, 0.99},
        {"wal_bytes", "bytes/s", "Bytes written to the write-ahead log", rate, "weir_wal_bytes_total"},
        {"wal_bytes_in_use", "bytes", "Write-ahead log that may not be reused yet", gauge, "weir_wal_bytes_in_use"},
        {"admission_queue_bytes", "bytes", "Waiting in queue 1", gauge, "weir_admission_queue_bytes"},
        {"apply_queue_bytes", "bytes", "Waiting in queue 2", gauge, "weir_apply_queue_bytes"},
        {"apply_lag_entries", "entries", "Committed and not visible to readers yet", gauge, "weir_apply_lag_entries"},
        {"applied_records", "records/s", "Records applied, dead letters included", rate, "weir_applied_records_total"},
        {"view_rows_written", "rows/s", "Rows of views written", rate, "weir_view_rows_written_total"},
        {"row_commits", "commits/s", "SQLite transactions of view rows", rate, "weir_row_commits_total"},
        {"dedup_memory_bytes", "bytes", "Memory of the dedup index", gauge, "weir_dedup_memory_bytes"},
        {"connections", "connections", "Open HTTP connections", gauge, "weir_http_connections"},
        {"body_bytes_in_flight", "bytes", "Bodies being received or waiting", gauge, "weir_http_body_bytes_in_flight"},
        {"tails", "tails", "Open tails", gauge, "weir_tails"},
        {"tail_events", "events/s", "Events and rows sent to tails", rate, "weir_tail_events_total"},
        {"requests_turned_away", "requests/s", "Ingest requests turned away", rate, "weir_requests_turned_away_total"},
        {"memory_bytes", "bytes", "Resident memory of the server's process", gauge, "process_resident_memory_bytes"},
        {"cpu_cores", "cores", "Time of the processors that the server's process takes", rate,
         "process_cpu_seconds_total"},
        {"disk_free_bytes", "bytes", "Free on the disk of the data directory", gauge, "weir_disk_free_bytes"},
    };
}

}  // namespace weir::obs
