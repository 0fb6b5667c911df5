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
    prometheus::Registry registry;
    mutable std::mutex mutex;  // of `sources`; they are read without it
    std::vector<std::shared_ptr<const Source>> sources;
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
    return handle;
}

Gauge Metrics::gauge(const std::string& name, const std::string& help, const Labels& labels) {
    Gauge handle;
    handle.impl_ = registered(
        name, [&] { return &prometheus::BuildGauge().Name(name).Help(help).Register(state_->registry).Add(labels); });
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

}  // namespace weir::obs
