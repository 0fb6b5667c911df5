// Metrics over prometheus-cpp: its registry and serialiser, behind handles that keep its types out of our headers.
#include "obs/metrics.h"

#include "obs/log.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <charconv>
#include <cmath>
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
    std::vector<prometheus::MetricFamily> collect() const;
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

namespace {

using Families = std::vector<prometheus::MetricFamily>;

std::string bound_text(double bound) {
    if (std::isinf(bound)) return "+Inf";
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, bound).ptr;
    return {text, end};
}

}  // namespace

// Everything there is now, sorted by name.
Families Metrics::State::collect() const {
    std::vector<std::shared_ptr<const Source>> read_now;
    {
        std::lock_guard lock(mutex);
        read_now = sources;
    }
    Families families = registry.Collect();
    for (const auto& source : read_now) {
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
    return families;
}

std::string Metrics::text() const {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, state_->collect());
    return std::move(out).str();
}

std::vector<Metrics::Line> Metrics::lines() const {
    std::vector<Line> out;
    for (const prometheus::MetricFamily& family : state_->collect()) {
        for (const prometheus::ClientMetric& metric : family.metric) {
            Labels labels;
            for (const auto& label : metric.label)
                labels[label.name] = label.value;
            if (family.type != prometheus::MetricType::Histogram) {
                const bool is_counter = family.type == prometheus::MetricType::Counter;
                out.push_back({family.name, labels, is_counter ? metric.counter.value : metric.gauge.value});
                continue;
            }
            for (const auto& bucket : metric.histogram.bucket) {
                Labels of_bucket = labels;
                of_bucket["le"] = bound_text(bucket.upper_bound);
                out.push_back(
                    {family.name + "_bucket", std::move(of_bucket), static_cast<double>(bucket.cumulative_count)});
            }
            out.push_back({family.name + "_sum", labels, metric.histogram.sample_sum});
            out.push_back({family.name + "_count", labels, static_cast<double>(metric.histogram.sample_count)});
        }
    }
    return out;
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
