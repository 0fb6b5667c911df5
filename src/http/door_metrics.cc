#include "http/detail/door_metrics.h"

#include <algorithm>
#include <string>
#include <vector>

namespace weir::http {
namespace {

// In the order of RouteId.
constexpr std::array<const char*, 16> route_names{"ingest",  "sql",     "streams", "stream",    "events", "views",
                                                  "cluster", "metrics", "tail",    "view_tail", "socket", "history",
                                                  "livez",   "readyz",  "home",    "none"};
// In the order of Refusal.
constexpr std::array<const char*, refusals> refusal_names{
    "connections", "bad_request", "header_time",  "body_time",    "write_time", "idle_time",
    "body_memory", "head_memory", "pool_queue",   "too_large",    "media_type", "method",
    "route",       "host",        "cross_origin", "unauthorised", "forbidden"};

constexpr const char* requests_name = "weir_http_requests_total";
constexpr const char* requests_help = "Requests answered, by route and status";

}  // namespace

DoorMetrics::DoorMetrics(obs::Metrics& metrics) : metrics_(metrics) {
    static_assert(route_names.size() == route_count);
    const std::vector<double> bounds{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
    for (std::size_t r = 0; r < route_count; ++r) {
        seconds_[r] =
            metrics.histogram("weir_http_request_duration_seconds", "From a request's head to the end of its answer",
                              bounds, {{"route", route_names[r]}});
    }
    for (std::size_t i = 0; i < refusals; ++i)
        refused_[i] =
            metrics.counter("weir_http_refused_total", "Requests and connections refused at a limit or a rule",
                            {{"reason", refusal_names[i]}});
    connections_ = metrics.gauge("weir_http_connections", "Open connections");
    in_flight_ =
        metrics.gauge("weir_http_body_bytes_in_flight", "Bytes of bodies being received or waiting for their answer");
}

void DoorMetrics::answered(RouteId route, int status, double seconds) {
    const auto r = static_cast<std::size_t>(route);
    const auto s = static_cast<std::size_t>(std::clamp(status - 100, 0, static_cast<int>(status_count) - 1));
    auto& counter = answered_[r][s];
    if (!counter)
        counter = metrics_.counter(requests_name, requests_help,
                                   {{"route", route_names[r]}, {"code", std::to_string(status)}});
    counter->add();
    seconds_[r].observe(seconds);
}

}  // namespace weir::http
