// The one table of routes: what there is, what each takes, and where it runs. Everything that must know routes (the
// loop, the router of the control plane, the metrics, `Allow`) reads this table.
#pragma once

#include "base/limits.h"
#include "http/auth.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir::http {

enum class RouteId : std::uint8_t {
    ingest,
    sql,
    streams,
    stream,
    events,
    views,
    cluster,
    metrics,
    tail,
    view_tail,
    socket,
    history,
    livez,
    readyz,
    home,
    none,  // no route: for metrics only
};

enum class Place : std::uint8_t {
    ingest,  // on the loop, handed to a shard
    probe,   // on the loop, answered at once: works while the pool is full
    pool,    // on a pool thread
    live,    // on the live thread, for as long as the client stays
};

struct Route {
    RouteId id;
    std::string_view method;   // GET serves HEAD too
    std::string_view pattern;  // `{stream}` is one segment
    Place place;
    Permission needs;  // of the caller; what a statement does may want more (sql_route.cc)
    std::size_t body_bytes_max;
};

inline constexpr std::size_t sql_body_bytes_max = 1 * limits::mib;  // a statement in JSON, with its parameters

inline constexpr std::array<Route, 15> routes{{
    {RouteId::ingest, "POST", "/v1/streams/{stream}/events", Place::ingest, Permission::write, limits::body_bytes_max},
    {RouteId::sql, "POST", "/v1/sql", Place::pool, Permission::read, sql_body_bytes_max},
    {RouteId::streams, "GET", "/v1/streams", Place::pool, Permission::read, 0},
    {RouteId::stream, "GET", "/v1/streams/{stream}", Place::pool, Permission::read, 0},
    {RouteId::events, "GET", "/v1/streams/{stream}/events", Place::pool, Permission::read, 0},
    {RouteId::views, "GET", "/v1/views", Place::pool, Permission::read, 0},
    {RouteId::cluster, "GET", "/v1/cluster", Place::pool, Permission::read, 0},
    {RouteId::metrics, "GET", "/metrics", Place::pool, Permission::read, 0},
    {RouteId::tail, "GET", "/v1/streams/{stream}/tail", Place::live, Permission::read, 0},
    {RouteId::view_tail, "GET", "/v1/views/{view}/tail", Place::live, Permission::read, 0},
    {RouteId::socket, "GET", "/v1/ws", Place::live, Permission::read, 0},
    {RouteId::history, "GET", "/v1/metrics/history", Place::pool, Permission::read, 0},
    {RouteId::livez, "GET", "/livez", Place::probe, Permission::open, 0},
    {RouteId::readyz, "GET", "/readyz", Place::probe, Permission::open, 0},
    {RouteId::home, "GET", "/", Place::probe, Permission::read, 0},
}};

constexpr bool every_route_says_what_it_needs() {
    for (const Route& route : routes)
        if (route.needs == Permission::undecided) return false;
    return true;
}
static_assert(every_route_says_what_it_needs());

// What a request's line leads to.
struct Match {
    const Route* route = nullptr;  // null: no such path, or not with this method
    std::string parameter;         // the `{...}` segment, percent-decoded
    std::string allow;             // methods of the path when the method is not among them: 405
};
// `path` is the target up to '?'.
Match match_route(std::string_view method, std::string_view path);

// "%41+b" -> "A+b". False: a '%' without two hex digits, or a NUL comes out.
bool percent_decode(std::string_view text, std::string& out);

}  // namespace weir::http
