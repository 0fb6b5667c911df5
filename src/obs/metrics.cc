// Metrics over prometheus-cpp: its registry and serialiser, behind handles that keep its types out of our headers.
#include "obs/metrics.h"

#include "obs/log.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <set>
#include <sstream>
#include <utility>

namespace weir::obs {
namespace {

bool is_metric_name(const std::string& name) {
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':'; };
    return !name.empty() && letter(name[0]) &&
           std::ranges::all_of(name, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

void refused(const std::string& name, const char* why) {
    log(Level::error, "metric_refused", {{"name", name}, {"why", why}});
}

// Nothing of the library may unwind through us: it throws at names that it does not like.
template <class Register>
void* registered(const std::string& name, Register make) {
    if (!is_metric_name(name)) {
        refused(name, "not a metric name");
        return nullptr;
    }
    try {
        return make();
    } catch (const std::exception& error) {
        refused(name, error.what());
        return nullptr;
    }
}

}  // namespace

struct Metrics::State {
    struct Source {
        std::string name, help;
        prometheus::MetricType type = prometheus::MetricType::Untyped;
        std::function<std::vector<Sample>()> read;
    };
    // One handle's series, for read(): the registry only hands out copies of everything.
    struct Series {
        Labels labels;
        prometheus::Counter* counter = nullptr;
        prometheus::Gauge* gauge = nullptr;
        prometheus::Histogram* histogram = nullptr;
    };
    prometheus::Registry registry;
    mutable std::mutex mutex;  // of what follows; sources are read without it
    std::vector<std::shared_ptr<const Source>> sources;
    std::map<std::string, std::vector<Series>> series;

    // The same name and labels give the same series: it stands here once.
    void note(const std::string& name, Series made) {
        std::lock_guard lock(mutex);
        auto& of_name = series[name];
        const auto same = [&](const Series& s) { return s.labels == made.labels; };
        if (std::ranges::none_of(of_name, same)) of_name.push_back(std::move(made));
    }
};

void Counter::add(double v) const {
    if (impl_ && v >= 0) static_cast<prometheus::Counter*>(impl_)->Increment(v);
}
void Gauge::set(double v) const {
    if (impl_) static_cast<prometheus::Gauge*>(impl_)->Set(v);
}
void Histogram::observe(double v) const {
    if (impl_) static_cast<prometheus::Histogram*>(impl_)->Observe(v);
}

Metrics::Metrics() : state_(std::make_unique<State>()) {}
Metrics::~Metrics() = default;

Counter Metrics::counter(const std::string& name, const std::string& help, const Labels& labels) {
    Counter handle;
    handle.impl_ = registered(
        name, [&] { return &prometheus::BuildCounter().Name(name).Help(help).Register(state_->registry).Add(labels); });
    if (handle.impl_) state_->note(name, {labels, static_cast<prometheus::Counter*>(handle.impl_), nullptr, nullptr});
    return handle;
}

Gauge Metrics::gauge(const std::string& name, const std::string& help, const Labels& labels) {
    Gauge handle;
    handle.impl_ = registered(
        name, [&] { return &prometheus::BuildGauge().Name(name).Help(help).Register(state_->registry).Add(labels); });
    if (handle.impl_) state_->note(name, {labels, nullptr, static_cast<prometheus::Gauge*>(handle.impl_), nullptr});
    return handle;
}

Histogram Metrics::histogram(const std::string& name, const std::string& help, const std::vector<double>& bounds,
                             const Labels& labels) {
    Histogram handle;
    if (!std::ranges::is_sorted(bounds)) {
        refused(name, "its bounds do not ascend");
        return handle;
    }
    handle.impl_ = registered(name, [&] {
        return &prometheus::BuildHistogram().Name(name).Help(help).Register(state_->registry).Add(labels, bounds);
    });
    if (handle.impl_) state_->note(name, {labels, nullptr, nullptr, static_cast<prometheus::Histogram*>(handle.impl_)});
    return handle;
}

void Metrics::on_scrape(const std::string& name, const std::string& help, bool is_counter,
                        std::function<std::vector<Sample>()> read) {
    if (!is_metric_name(name)) return refused(name, "not a metric name");
    auto source = std::make_shared<State::Source>();
    source->name = name;
    source->help = help;
    source->type = is_counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
    source->read = std::move(read);
    std::lock_guard lock(state_->mutex);
    state_->sources.push_back(std::move(source));
}

std::string Metrics::text() const {
    std::vector<std::shared_ptr<const State::Source>> sources;
    {
        std::lock_guard lock(state_->mutex);
        sources = state_->sources;
    }
    std::vector<prometheus::MetricFamily> families = state_->registry.Collect();
    for (const auto& source : sources) {
        // The format wants a name once: sources of one name share a family, the first one's help and type hold.
        auto family = std::ranges::find(families, source->name, &prometheus::MetricFamily::name);
        if (family == families.end()) {
            families.push_back({source->name, source->help, source->type, {}});
            family = families.end() - 1;
        }
        if (family->type != source->type) continue;
        for (const Sample& sample : source->read()) {
            prometheus::ClientMetric metric;
            for (const auto& [label, value] : sample.labels)
                metric.label.push_back({label, value});
            metric.counter.value = metric.gauge.value = sample.value;
            family->metric.push_back(std::move(metric));
        }
    }
    std::erase_if(families, [](const prometheus::MetricFamily& family) { return family.metric.empty(); });
    std::ranges::sort(families, {}, &prometheus::MetricFamily::name);
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, families);
    return std::move(out).str();
}

Metrics::Reading Metrics::read(const std::string& name, const Labels& labels) const {
    const auto fits = [&](const Labels& have) {
        return std::ranges::all_of(labels, [&](const auto& wanted) {
            const auto found = have.find(wanted.first);
            return found != have.end() && found->second == wanted.second;
        });
    };
    Reading reading;
    std::vector<State::Series> series;
    std::vector<std::shared_ptr<const State::Source>> sources;
    {
        std::lock_guard lock(state_->mutex);
        if (const auto found = state_->series.find(name); found != state_->series.end()) series = found->second;
        for (const auto& source : state_->sources)
            if (source->name == name) sources.push_back(source);
    }
    for (const State::Series& one : series) {
        if (!fits(one.labels)) continue;
        reading.found = true;
        if (one.counter) reading.value += one.counter->Value();
        if (one.gauge) reading.value += one.gauge->Value();
        if (!one.histogram) continue;
        const auto now = one.histogram->Collect().histogram;
        reading.value += now.sample_sum;
        reading.count += now.sample_count;
        if (reading.buckets.empty()) reading.buckets.resize(now.bucket.size());
        for (std::size_t i = 0; i < std::min(reading.buckets.size(), now.bucket.size()); ++i) {
            reading.buckets[i].first = now.bucket[i].upper_bound;
            reading.buckets[i].second += now.bucket[i].cumulative_count;
        }
    }
    for (const auto& source : sources) {
        for (const Sample& sample : source->read()) {
            if (!fits(sample.labels)) continue;
            reading.found = true;
            reading.value += sample.value;
        }
    }
    return reading;
}

}  // namespace weir::obs
