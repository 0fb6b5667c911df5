// The door's metrics. Handles are taken when the door is built; a status that a route has never answered gets its
// series at the first answer.
// Owner: the loop.
#pragma once

#include "http/detail/routes.h"
#include "obs/metrics.h"

#include <array>
#include <cstdint>
#include <map>
#include <optional>

namespace weir::http {

enum class Refusal : std::uint8_t {
    connections,
    bad_request,
    header_time,
    body_time,
    write_time,
    idle_time,
    body_memory,
    head_memory,
    pool_queue,
    too_large,
    media_type,
    method,
    route,
    host,
    cross_origin,
    unauthorised,
    forbidden,
};
inline constexpr std::size_t refusals = 17;

class DoorMetrics {
  public:
    explicit DoorMetrics(obs::Metrics& metrics);
    void answered(RouteId route, int status, double seconds);
    void refused(Refusal reason) { refused_[static_cast<std::size_t>(reason)].add(); }
    void connections(std::size_t now) { connections_.set(static_cast<double>(now)); }
    void body_bytes_in_flight(std::size_t now) { in_flight_.set(static_cast<double>(now)); }

  private:
    static constexpr std::size_t route_count = static_cast<std::size_t>(RouteId::none) + 1;
    static constexpr std::size_t status_count = 512;  // 100 .. 611

    obs::Metrics& metrics_;
    std::array<std::array<std::optional<obs::Counter>, status_count>, route_count> answered_;
    std::array<obs::Histogram, route_count> seconds_;
    std::array<obs::Counter, refusals> refused_;
    obs::Gauge connections_, in_flight_;
};

}  // namespace weir::http
