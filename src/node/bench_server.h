// A server for a measurement: started from this very binary on a fresh folder, watched through /proc, stopped and
// removed.
//
// Owner: one thread; the server dies with it.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "node/client.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::node {

struct ProcessUse {
    int pid = 0;
    std::string name;         // "weir"; "weir sql-worker"
    std::int64_t cpu_ns = 0;  // user and system since its start; kernel ticks of 10 ms
    std::int64_t rss_bytes = 0;
    std::int64_t rss_peak_bytes = 0;
};

class BenchServer {
  public:
    struct Options {
        std::string program = "/proc/self/exe";
        std::string parent_dir = ".";  // where the fresh folder is made: the disk that is measured
        std::int64_t ready_within_ms = 30'000;
        Clock* clock = nullptr;  // borrowed, not null
    };
    // Returns when it says that it is ready. Errors: io (no folder, no process; it ended: with the last lines that it
    // wrote), timed_out (never ready).
    static Result<BenchServer> start(const Options& options);
    BenchServer(BenchServer&& other) noexcept;
    BenchServer& operator=(BenchServer&&) = delete;
    ~BenchServer();  // SIGTERM, after 10 s SIGKILL; removes the folder

    const ServerAddress& address() const { return address_; }
    int pid() const { return pid_; }
    std::string log_tail() const;

  private:
    BenchServer() = default;
    std::string dir_;
    int pid_ = -1;
    ServerAddress address_;
};

// `pid` and every process below it, itself first.
std::vector<ProcessUse> processes_of(int pid);

// The first http://host:port in `log`, once "ready in" stands there too; "" until then.
std::string ready_address(std::string_view log);

}  // namespace weir::node
