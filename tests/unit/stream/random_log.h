// A random log of three partitions: event times that wander, and now and then go far back.
#pragma once

#include "base/prng.h"
#include "unit/stream/tumble_fixture.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace weir::stream {

constexpr PartitionNo partitions = 3;

// Texts must outlive the events that point to them.
struct Log {
    std::vector<std::unique_ptr<std::string>> texts;
    std::vector<Event> events;
};

inline Log make_log(std::uint64_t seed, std::size_t count) {
    Prng prng(seed);
    Log log;
    std::int64_t clock[partitions] = {-3000, 0, 2000};
    for (std::size_t i = 0; i < count; ++i) {
        Event event;
        event.partition = static_cast<PartitionNo>(prng.below(partitions));
        std::int64_t& now = clock[event.partition];
        now += static_cast<std::int64_t>(prng.below(120));
        event.time_ms = now - (prng.chance(0.1) ? static_cast<std::int64_t>(prng.below(6000)) : 0);
        std::string path = "/" + std::to_string(prng.below(12)) + std::string(prng.chance(0.05) ? 600 : 0, 'x');
        if (prng.chance(0.1)) path.push_back('\0');
        log.texts.push_back(std::make_unique<std::string>(std::move(path)));
        const auto maybe = [&](Value value) { return prng.chance(0.1) ? Value::null() : value; };
        event.values = {maybe(n(static_cast<std::int64_t>(prng.below(6)) * 100)),
                        maybe(n(static_cast<std::int64_t>(prng.next() >> prng.below(60)))),
                        maybe(Value::of(static_cast<double>(prng.below(1000)) / 7 * (prng.chance(0.1) ? 1e15 : 1))),
                        maybe(t(*log.texts.back()))};
        log.events.push_back(event);
    }
    return log;
}

// Another interleaving of the partitions: each one's records stay in order.
inline Log interleaved(const Log& log, std::uint64_t seed) {
    Prng prng(seed);
    std::vector<std::vector<Event>> queues(partitions);
    for (const Event& event : log.events)
        queues[static_cast<std::size_t>(event.partition)].push_back(event);
    for (auto& queue : queues)
        std::reverse(queue.begin(), queue.end());
    Log out;
    // Runs of a partition, so that one is far ahead of another at times.
    while (out.events.size() < log.events.size()) {
        auto& queue = queues[prng.below(queues.size())];
        for (std::uint64_t run = prng.below(60); run > 0 && !queue.empty(); --run) {
            out.events.push_back(queue.back());
            queue.pop_back();
        }
    }
    return out;  // its texts are the other's
}

}  // namespace weir::stream
