// The HTTP door: libuv owns every socket, limit and deadline; Boost.Beast parses; cpp-httplib routes the control
// plane on a bounded pool of threads. Ingest never leaves the loop's thread until it is handed to the shard.
//
// Owner: one loop thread that start() makes. start, stop and the constructor are for the main thread.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "cluster/catalog.h"
#include "http/auth.h"
#include "obs/history.h"
#include "obs/metrics.h"
#include "os/disk.h"
#include "query/pool.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace weir::http {

struct ServerOptions {
    std::string listen = "127.0.0.1:8080";  // host:port, port 0: any
    std::vector<std::string> hosts;         // further names that Host may carry
    std::vector<std::string> origins;       // further origins that browsers may come from
    std::vector<ApiKey> keys;               // none: everybody may do everything
    bool undeclared_streams = true;
    std::string node_id = "n1";
    std::string version;
    std::size_t body_bytes_in_flight_max = 160u << 20;  // of all requests being received or waiting; above: 503
    std::uint32_t pool_threads = 4;
    std::uint32_t pool_waiting_max = 256;
    std::uint32_t tails_max = 2'048;  // tails and subscriptions; above: 503
};

struct ServerParts {
    cluster::Catalog& catalog;
    query::Pool& queries;
    obs::Metrics& metrics;
    os::Disk& disk;
    Clock& clock;
    // For the expressions of filtered tails, which would take the workers of `queries` for days; null: `queries`.
    query::Pool* tail_queries = nullptr;
    obs::History* history = nullptr;  // null: there is none
};

class Server {
  public:
    // Binds and listens; does not serve before start(). Errors: io (address in use: says so and what to do),
    // invalid_argument.
    static Result<std::unique_ptr<Server>> open(ServerOptions options, ServerParts parts);
    virtual ~Server() = default;
    virtual void start() = 0;
    // Stops accepting and lets requests in flight finish up to `drain_ms`. Then stops the query pool: what still runs
    // is answered `shutting_down` (or, if its rows have begun, cut off), within a second more. Closes everything, joins
    // its threads. The pool is stopped in any case.
    virtual void stop(std::int64_t drain_ms) = 0;
    virtual std::string address() const = 0;  // "127.0.0.1:8080", the real port
};

}  // namespace weir::http
