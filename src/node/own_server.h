// A server of a command's own, for a measurement or a demonstration: started from this very binary on a fresh folder,
// watched through /proc, stopped and removed.
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

class OwnServer {
  public:
    struct Options {
        std::string program = "/proc/self/exe";
        std::string name = "bench";    // the fresh folder is weir-NAME-XXXXXX
        std::string parent_dir = ".";  // where the fresh folder is made: the disk that is measured
        std::string data_dir;          // kept at the end; "" in the fresh folder
        std::string http_listen = "127.0.0.1:0";
        std::int64_t ready_within_ms = 30'000;
        Clock* clock = nullptr;  // borrowed, not null
    };
    // Returns when it says that it is ready. It gets this process's environment, but for WEIR_CONFIG and WEIR_AUTH_*:
    // no key is needed whatever the user has set up. Errors: io (no folder, no process; it ended: with the last lines
    // that it wrote), timed_out (never ready).
    static Result<OwnServer> start(const Options& options);
    OwnServer(OwnServer&& other) noexcept;
    OwnServer& operator=(OwnServer&&) = delete;
    ~OwnServer();  // SIGTERM, after 10 s SIGKILL; removes the fresh folder

    const ServerAddress& address() const { return address_; }
    int pid() const { return pid_; }
    std::string log_tail() const;
    const std::string& folder() const { return dir_; }  // the fresh one
    bool has_ended();                                   // by itself, or killed by somebody; reaps it

  private:
    OwnServer() = default;
    std::string dir_;
    int pid_ = -1;
    ServerAddress address_;
};

// `pid` and every process below it, itself first.
std::vector<ProcessUse> processes_of(int pid);

// The first http://host:port in `log`, once "ready in" stands there too; "" until then.
std::string ready_address(std::string_view log);

}  // namespace weir::node
