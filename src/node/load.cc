#include "node/load.h"

#include "base/check.h"
#include "base/prng.h"
#include "record/time.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace weir::node {
namespace {

constexpr std::int64_t first_event_ms = 1'763'672'400'000;  // 2025-11-20T21:00:00Z
constexpr std::int64_t event_gap_ms = 10;                   // a million events span 2.8 hours
constexpr std::uint64_t disorder_ms = 5'000;                // events are up to this much older than their place says
constexpr std::int64_t hour_ms = 3'600'000;
constexpr std::uint64_t users = 20'000;

struct Weighted {
    std::uint32_t percent_mille;  // of 100'000
    std::int64_t status;
};
constexpr std::array<Weighted, 8> statuses{
    {{91'200, 200}, {4'500, 304}, {2'100, 404}, {1'500, 301}, {450, 206}, {150, 500}, {60, 403}, {40, 416}}};
constexpr std::array<std::string_view, 16> paths{"/",
                                                 "/favicon.ico",
                                                 "/assets/site.css",
                                                 "/assets/app.js",
                                                 "/images/banner.png",
                                                 "/blog/2025/10/",
                                                 "/blog/tags/logs",
                                                 "/docs/getting-started",
                                                 "/docs/reference/sql",
                                                 "/robots.txt",
                                                 "/projects/ingest/",
                                                 "/projects/ingest/faq",
                                                 "/images/team/04.jpg",
                                                 "/download/latest.tgz",
                                                 "/search?q=windows",
                                                 "/feed.xml"};
constexpr std::array<std::string_view, 5> referrers{"", "https://a.example/", "https://a.example/blog",
                                                    "https://find.example/", "https://news.example/item"};
constexpr std::array<std::string_view, 5> agents{"Mozilla/5.0", "Mozilla/4.0", "curl/7.88.1", "FeedBot/2.1",
                                                 "Crawler/1.0"};

// Everything about an event follows from its number and the seed, so that a duplicate is made, not remembered.
struct Event {
    std::int64_t time_ms = 0;
    std::int64_t status = 0;
    std::int64_t bytes = 0;
};

Event append_event(std::string& out, std::uint64_t seed, std::uint64_t number) {
    Prng chance(mix64(seed) ^ mix64(number));
    Event event;
    event.time_ms = first_event_ms + static_cast<std::int64_t>(number) * event_gap_ms -
                    static_cast<std::int64_t>(chance.below(disorder_ms));
    auto draw = static_cast<std::uint32_t>(chance.below(100'000));
    for (const Weighted& option : statuses) {
        event.status = option.status;
        if (draw < option.percent_mille) break;
        draw -= option.percent_mille;
    }
    const std::uint64_t bytes_bound = std::uint64_t{1} << (6 + chance.below(14));
    event.bytes = event.status == 304 ? 0 : static_cast<std::int64_t>(chance.below(bytes_bound));
    // The smaller of two draws: some users come often, most seldom.
    const std::uint64_t user = std::min(chance.below(users), chance.below(users));
    const std::string_view path = paths[std::min(chance.below(paths.size()), chance.below(paths.size()))];
    const std::string_view referrer = referrers[chance.below(referrers.size())];
    const std::string_view agent = agents[chance.below(agents.size())];

    char id[32];
    std::snprintf(id, sizeof id, "%016llx%08llx", static_cast<unsigned long long>(mix64(seed ^ number)),
                  static_cast<unsigned long long>(number & 0xffffffff));
    out += "{\"event_id\":\"";
    out += id;
    out += "\",\"event_type\":\"http_access\",\"timestamp\":\"";
    out += record::format_rfc3339(event.time_ms);
    out += "\",\"user_id\":\"10.";
    out += std::to_string(user >> 8 & 255);
    out += '.';
    out += std::to_string(user & 255);
    out += '.';
    out += std::to_string(mix64(user) & 255);
    out += "\",\"properties\":{\"method\":\"";
    out += chance.below(100) < 97 ? "GET" : "POST";
    out += "\",\"path\":\"";
    out += path;
    out += "\",\"status\":";
    out += std::to_string(event.status);
    out += ",\"bytes\":";
    out += std::to_string(event.bytes);
    out += ",\"referrer\":";
    if (referrer.empty()) {
        out += "null";
    } else {
        out += '"';
        out += referrer;
        out += '"';
    }
    out += ",\"agent\":\"";
    out += agent;
    out += "\"}}\n";
    return event;
}

}  // namespace

Load make_load(const LoadOptions& options) {
    CHECK(options.events >= 1 && options.events <= load_events_max);
    CHECK(options.batch >= 1);
    constexpr std::size_t event_bytes_estimate = 264;
    Load load;
    load.events = options.events;
    load.bodies.reserve(static_cast<std::size_t>(options.events) * event_bytes_estimate);
    load.at.push_back(0);
    Prng chance(options.seed);
    for (std::int64_t i = 0; i < options.events; ++i) {
        const bool repeats = load.distinct > 0 && chance.chance(options.duplicates_percent / 100);
        if (repeats) {
            append_event(load.bodies, options.seed, chance.below(static_cast<std::uint64_t>(load.distinct)));
        } else {
            const Event event = append_event(load.bodies, options.seed, static_cast<std::uint64_t>(load.distinct));
            ++load.distinct;
            GroupSum& group = load.groups[{event.time_ms / hour_ms * hour_ms, event.status}];
            group.count += 1;
            group.bytes += event.bytes;
        }
        if ((i + 1) % options.batch == 0 || i + 1 == options.events) load.at.push_back(load.bodies.size());
    }
    return load;
}

std::string load_stream_sql(const std::string& stream) {
    return "CREATE STREAM " + stream +
           " (\n"
           "  event_id TEXT, event_type TEXT, user_id TEXT,\n"
           "  method TEXT FROM '$.properties.method', path TEXT FROM '$.properties.path',\n"
           "  status INTEGER NOT NULL CHECK (status BETWEEN 100 AND 599) FROM '$.properties.status',\n"
           "  bytes INTEGER CHECK (bytes >= 0) FROM '$.properties.bytes',\n"
           "  ts TIMESTAMP FROM '$.timestamp',\n"
           "  EVENT TIME ts DELAY 30m IDLE AFTER 30s,\n"
           "  DEDUP KEY (event_id) WITHIN 7d\n"
           ") PARTITIONS 4 BY user_id RETAIN 30d ON ERROR DEAD LETTER";
}

std::string load_view_sql(const std::string& stream) {
    return "CREATE MATERIALIZED VIEW " + stream +
           "_1h AS\n"
           "  SELECT window_start, status, count(*) AS n, sum(bytes) AS bytes\n"
           "  FROM TUMBLE(" +
           stream + ", 1h) GROUP BY window_start, status LATENESS 7d EMIT CHANGES";
}

}  // namespace weir::node
