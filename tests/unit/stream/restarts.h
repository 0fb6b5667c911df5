// A view's life over a random log, with checkpoints and power cuts.
#pragma once

#include "base/prng.h"
#include "unit/stream/random_log.h"
#include "unit/stream/tumble_fixture.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

namespace weir::stream {

constexpr std::size_t events_per_entry = 25;

// Entries are 40 ms apart.
inline std::int64_t append_ms_of(std::size_t index) {
    return static_cast<std::int64_t>(index / events_per_entry) * 40;
}

// Checkpoints that end some entries after they began, and power cuts after which the view is opened from the last
// checkpoint and the log is replayed; the table is ahead of the state then, as SQLite is.
inline Seen run_with_restarts(const TumblePlan& plan, const Log& log, std::uint64_t seed, int& restarts) {
    Prng prng(seed);
    auto state = make_memory_store();
    ViewRun view(plan, *state);
    std::size_t at = 0;            // position in the log
    std::size_t collected_at = 0;  // where the checkpoint under way stands
    std::size_t durable_at = 0;    // where the last finished one stands
    std::size_t rows_at = 0;       // up to where the table has seen the log
    bool in_flight = false;
    while (at < log.events.size()) {
        const std::size_t end = std::min(at + events_per_entry, log.events.size());
        view.append_ms = append_ms_of(at);
        REQUIRE(view.feed(log.events, at, end));
        at = end;
        if (at <= rows_at) {
            view.view->discard_dirty_rows();  // replay below what the table has
        } else if (prng.chance(0.4)) {
            view.take_rows();
            rows_at = at;
        }
        if (!in_flight && prng.chance(0.25)) {
            if (at > rows_at) view.take_rows();  // rows are durable before the state that is ahead of them
            rows_at = std::max(rows_at, at);
            view.collect();
            collected_at = at;
            in_flight = true;
        } else if (in_flight && prng.chance(0.4)) {
            view.commit();
            durable_at = collected_at;
            in_flight = false;
        }
        if (prng.chance(0.06)) {
            // The table keeps what it has; rows that were dirty are lost with the memory, and the replay makes them
            // again.
            view.open();
            at = durable_at;
            in_flight = false;
            ++restarts;
        }
    }
    return view.finish();
}

}  // namespace weir::stream
