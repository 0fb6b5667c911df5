// `weir demo`: a server of its own with a shop's live traffic, for somebody who wants to see what weir does.
#pragma once

#include "node/client.h"
#include "node/console.h"

#include <cstdint>
#include <string>

namespace weir::node {

constexpr std::int64_t demo_rate_max = 100'000;

struct DemoOptions {
    std::int64_t events_per_s = 500;
    std::uint64_t seed = 42;
    std::string data_dir{};     // "": a fresh folder below `parent_dir`, removed at the end
    std::string http_listen{};  // "": 127.0.0.1:8080, or another port where that is in use
    bool open = true;           // show the page in a browser, where there are both and this is a terminal
    std::string parent_dir = "/tmp";
    std::string program = "/proc/self/exe";
    int stop_fd = -1;  // readable: end
};

// Ends when `stop_fd` is readable: 0. 1 when the server does not start or ends, or refuses what is sent; 6 when the
// data directory holds other streams than the demo's.
Exit run_demo(const Console& console, const DemoOptions& options);

// How many events are due, at a steady rate. What a machine that was asleep or slow owes is dropped, not made up for.
class DemoPace {
  public:
    explicit DemoPace(std::int64_t events_per_s) : events_per_s_(events_per_s) {}
    // `passed_us`: since the start, never less than before. At most what one second brings.
    std::int64_t due(std::int64_t passed_us);

  private:
    std::int64_t events_per_s_;
    std::int64_t told_ = 0;
};

}  // namespace weir::node
