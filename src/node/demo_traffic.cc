#include "node/demo_traffic.h"

#include "base/prng.h"
#include "record/time.h"

#include <algorithm>
#include <cstdio>

namespace weir::node {
namespace {

constexpr std::int64_t minute_ms = 60'000;
constexpr std::int64_t day_ms = 86'400'000;
constexpr std::uint64_t visitors = 5'000;
constexpr std::uint64_t products = 120;
constexpr std::uint64_t disorder_ms = 2'000;  // what is not late is at most so old when it is sent
// Every so many lines the checkout has a bad time, so many lines long.
constexpr std::uint64_t incident_every = 20'000;
constexpr std::uint64_t incident_lines = 2'500;

struct Route {
    std::uint64_t permille;
    std::string_view method, path;
    std::uint64_t typical_ms, bytes;
};
constexpr std::array<Route, 9> routes{{{220, "GET", "/", 12, 18'000},
                                       {330, "GET", "/products/", 18, 24'000},  // and the product's number
                                       {110, "GET", "/search", 45, 9'000},
                                       {120, "GET", "/assets/app.js", 2, 64'000},
                                       {60, "GET", "/cart", 14, 6'000},
                                       {70, "POST", "/cart", 22, 900},
                                       {30, "POST", "/login", 80, 400},
                                       {40, "POST", "/checkout", 140, 700},
                                       {20, "GET", "/wp-login.php", 3, 200}}};
constexpr std::array<std::string_view, 8> countries{"DE", "US", "FR", "BR", "JP", "PL", "IN", "CA"};
constexpr std::array<std::string_view, 5> agents{"Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (iPhone)",
                                                 "Mozilla/5.0 (Windows NT 10.0)", "curl/8.5.0", "FeedBot/2.1"};

const Route& route_of(std::uint64_t draw) {
    for (const Route& route : routes) {
        if (draw < route.permille) return route;
        draw -= route.permille;
    }
    return routes.front();
}

// Few come often, most seldom.
std::uint64_t often_low(Prng& chance, std::uint64_t bound) {
    return std::min({chance.below(bound), chance.below(bound), chance.below(bound)});
}

std::int64_t status_of(Prng& chance, const Route& route, bool incident) {
    const std::uint64_t draw = chance.below(1000);
    if (route.path == "/wp-login.php") return 404;
    if (incident && route.method == "POST" && draw < 350) return 503;
    if (draw < 3) return 500;
    if (draw < 15) return 404;
    if (route.path == "/login" && draw < 120) return 401;
    if (route.path == "/assets/app.js" && draw < 600) return 304;
    return route.method == "POST" ? 201 : 200;
}

std::string id_of(std::uint64_t seed, std::uint64_t number) {
    char id[40];
    std::snprintf(id, sizeof id, "%016llx-%llx", static_cast<unsigned long long>(mix64(seed ^ mix64(number))),
                  static_cast<unsigned long long>(number));
    return id;
}

std::string quoted(std::string_view name, std::string_view text) {
    return "\"" + std::string(name) + "\":\"" + std::string(text) + "\",";
}

struct Visit {
    std::string id, time, visitor;
    std::string_view country;
    std::int64_t status = 0;
    const Route* route = nullptr;
};

std::string request_line(Prng& chance, const Visit& visit, bool incident) {
    const Route& route = *visit.route;
    std::string path(route.path);
    if (path.ends_with("s/")) path += std::to_string(1 + often_low(chance, products));
    const std::uint64_t bytes = visit.status == 304 ? 0 : route.bytes / 2 + chance.below(route.bytes);
    // In microseconds: most near the typical time, one in thirty far behind it.
    std::uint64_t duration_us = route.typical_ms * (500 + chance.below(1000));
    if (chance.below(30) == 0) duration_us *= 2 + chance.below(12);
    if (incident && route.method == "POST") duration_us *= 4;
    char duration[32];
    std::snprintf(duration, sizeof duration, "%llu.%03llu", static_cast<unsigned long long>(duration_us / 1000),
                  static_cast<unsigned long long>(duration_us % 1000));
    return "{" + quoted("event_id", visit.id) + quoted("timestamp", visit.time) + quoted("visitor", visit.visitor) +
           quoted("country", visit.country) + quoted("method", route.method) + quoted("path", path) +
           "\"status\":" + std::to_string(visit.status) + ",\"bytes\":" + std::to_string(bytes) +
           ",\"duration_ms\":" + duration + ",\"agent\":\"" + std::string(agents[often_low(chance, agents.size())]) +
           "\"}";
}

std::string order_line(Prng& chance, const Visit& visit) {
    const std::uint64_t items = 1 + often_low(chance, 6);
    std::uint64_t cents = 0;
    for (std::uint64_t item = 0; item < items; ++item)
        cents += 490 + 10 * chance.below(900);
    return "{\"order_id\":\"order-" + visit.id + "\"," + quoted("request_id", visit.id) +
           quoted("timestamp", visit.time) + quoted("visitor", visit.visitor) + quoted("country", visit.country) +
           "\"items\":" + std::to_string(items) + ",\"total_cents\":" + std::to_string(cents) + "}\n";
}

void replace(std::string& line, std::string_view what, std::string_view by) {
    const std::size_t at = line.find(what);
    if (at != std::string::npos) line.replace(at, what.size(), by);
}

// One of the ways in which senders get it wrong; each ends as a dead letter with another reason.
void break_line(Prng& chance, const Visit& visit, std::int64_t now_ms, std::string& line) {
    const std::string status = "\"status\":" + std::to_string(visit.status);
    switch (chance.below(6)) {
        case 0:
            line.resize(line.size() / 2);  // a sender died: malformed_json
            break;
        case 1:
            replace(line, status, "\"status\":\"OK\"");  // wrong_type
            break;
        case 2:
            replace(line, status, "\"status\":0");  // check_failed
            break;
        case 3:
            replace(line, "\"event_id\"", "\"id\"");  // missing_dedup_key
            break;
        case 4:
            replace(line, visit.time, "yesterday");  // bad_event_time
            break;
        default:
            replace(line, visit.time, record::format_rfc3339(now_ms + 2 * day_ms));  // future_event_time
            break;
    }
}

}  // namespace

DemoTraffic::DemoTraffic(std::uint64_t seed, std::uint64_t first) : seed_(seed), next_(first) {}

void DemoTraffic::append(std::int64_t now_ms, DemoLines& lines) {
    const std::uint64_t number = next_++;
    Prng chance(mix64(seed_) ^ mix64(number));
    const std::uint64_t fate = chance.below(1000);
    lines.request_count += 1;
    if (fate < demo_duplicates_permille) {
        const std::string& earlier = kept_[chance.below(kept_lines)];
        if (!earlier.empty()) {
            lines.requests += earlier;
            return;
        }
    }
    const bool bad = fate >= 100 && fate < 100 + demo_bad_permille;
    const bool late = fate >= 200 && fate < 200 + demo_late_permille;
    const bool incident = number % incident_every >= incident_every - incident_lines;
    const std::uint64_t who = often_low(chance, visitors);
    Visit visit;
    visit.id = id_of(seed_, number);
    const std::int64_t age_ms = static_cast<std::int64_t>(chance.below(disorder_ms)) +
                                (late ? 10 * minute_ms + static_cast<std::int64_t>(chance.below(600'000)) : 0);
    visit.time = record::format_rfc3339(now_ms - age_ms);
    visit.visitor = "v" + std::to_string(who);
    visit.country = countries[std::min(mix64(who) % countries.size(), mix64(who + 1) % countries.size())];
    visit.route = &route_of(chance.below(1000));
    visit.status = status_of(chance, *visit.route, incident);
    std::string line = request_line(chance, visit, incident);
    if (bad) {
        break_line(chance, visit, now_ms, line);
        lines.requests += line + "\n";
        return;
    }
    line += '\n';
    lines.requests += line;
    kept_[number % kept_lines] = std::move(line);
    if (visit.route->path == "/checkout" && visit.status == 201) {
        lines.orders += order_line(chance, visit);
        lines.order_count += 1;
    }
}

std::vector<std::string> demo_statements() {
    return {
        R"(CREATE STREAM IF NOT EXISTS requests (
  event_id TEXT, visitor TEXT, country TEXT, method TEXT, path TEXT,
  status INTEGER NOT NULL CHECK (status BETWEEN 100 AND 599),
  bytes INTEGER CHECK (bytes >= 0), duration_ms REAL,
  ts TIMESTAMP FROM '$.timestamp',
  EVENT TIME ts DELAY 5s IDLE AFTER 30s,
  DEDUP KEY (event_id) WITHIN 1h
) PARTITIONS 4 BY visitor RETAIN 6h ON ERROR DEAD LETTER)",
        R"(CREATE STREAM IF NOT EXISTS orders (
  order_id TEXT, request_id TEXT, visitor TEXT, country TEXT,
  items INTEGER, total_cents INTEGER NOT NULL,
  ts TIMESTAMP FROM '$.timestamp',
  EVENT TIME ts DELAY 5s IDLE AFTER 30s,
  DEDUP KEY (order_id) WITHIN 1h
) PARTITIONS 2 BY visitor RETAIN 6h ON ERROR DEAD LETTER)",
        R"(CREATE MATERIALIZED VIEW IF NOT EXISTS requests_1m AS
  SELECT window_start, status, count(*) AS n, sum(bytes) AS bytes, avg(duration_ms) AS avg_ms,
         max(duration_ms) AS max_ms
  FROM TUMBLE(requests, 1m) GROUP BY window_start, status LATENESS 30s)",
        R"(CREATE MATERIALIZED VIEW IF NOT EXISTS paths_10m AS
  SELECT window_start, path, count(*) AS n, count(DISTINCT visitor) AS visitors
  FROM TUMBLE(requests, 10m) GROUP BY window_start, path LATENESS 1h)",
        R"(CREATE MATERIALIZED VIEW IF NOT EXISTS revenue_1m AS
  SELECT window_start, country, count(*) AS orders, sum(total_cents) AS cents
  FROM TUMBLE(orders, 1m) GROUP BY window_start, country LATENESS 1h)"};
}

}  // namespace weir::node
