// What the operator sees, in Prometheus' text format. Registration is apart from hot code: objects take handles when
// they are built and only add on the way. Names follow the Prometheus conventions (unit last, _total for counters). A
// handle is a pointer-sized value, valid as long as the Metrics it came from; adding to it is wait-free but for
// histograms and thread-safe. Everything here is thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weir::obs {

using Labels = std::map<std::string, std::string>;

class Counter {
  public:
    void add(double v = 1) const;  // v >= 0
  private:
    friend class Metrics;
    void* impl_ = nullptr;  // a prometheus::Counter; null: counts nothing
};

class Gauge {
  public:
    void set(double v) const;

  private:
    friend class Metrics;
    void* impl_ = nullptr;
};

class Histogram {
  public:
    void observe(double v) const;

  private:
    friend class Metrics;
    void* impl_ = nullptr;
};

class Metrics {
  public:
    Metrics();
    ~Metrics();
    Metrics(const Metrics&) = delete;
    Metrics& operator=(const Metrics&) = delete;

    // Registers, or finds what has the same name and labels. A name that is no metric name, or is taken by another
    // type, is a mistake in the program: it is logged, and the handle counts nothing.
    Counter counter(const std::string& name, const std::string& help, const Labels& labels = {});
    Gauge gauge(const std::string& name, const std::string& help, const Labels& labels = {});
    Histogram histogram(const std::string& name, const std::string& help, const std::vector<double>& bounds,
                        const Labels& labels = {});
    // Values that exist elsewhere and are read when somebody scrapes: called on the scraping thread, must be
    // thread-safe, must not call this object, and what it refers to must outlive this object.
    struct Sample {
        Labels labels;
        double value = 0;
    };
    void on_scrape(const std::string& name, const std::string& help, bool is_counter,
                   std::function<std::vector<Sample>()> read);
    std::string text() const;  // the exposition, text/plain; version=0.0.4
    // The same values, one a line of the exposition: a histogram has its name with _bucket (label "le"), _sum, _count.
    struct Line {
        std::string name;
        Labels labels;
        double value = 0;
    };
    std::vector<Line> lines() const;

    // What the series of `name` with at least these labels come to, added up.
    struct Reading {
        bool found = false;
        double value = 0;         // of counters and gauges; of histograms the sum of what was observed
        std::uint64_t count = 0;  // of histograms: observations ...
        std::vector<std::pair<double, std::uint64_t>> buckets;  // ... and how many at or below each bound, ascending
    };
    Reading read(const std::string& name, const Labels& labels = {}) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace weir::obs
