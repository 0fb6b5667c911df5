// A request of the control plane on its way through a pool thread, and the way its answer takes back.
#pragma once

#include "base/ids.h"
#include "http/detail/authenticator.h"
#include "http/detail/mailbox.h"
#include "http/detail/problem.h"
#include "http/detail/routes.h"
#include "http/server.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::http {

struct Call {
    ConnectionId connection;
    const Route* route = nullptr;
    std::string method;
    std::string parameter;  // of the path: a stream's name, checked
    std::string query;      // raw, behind '?'
    std::string content_type;
    std::string body;
    std::string headers;  // further lines for the answer (CORS)
    bool keep_alive = true;
    bool http10 = false;
    Caller caller;
    std::int64_t arrived_us = 0;
    LogIndex committed;  // of the home shard at arrival: a read waits a little for its caller's own writes
    std::shared_ptr<Flow> flow;
};

// Decoded query parameters in the order of the URL.
using Parameters = std::vector<std::pair<std::string, std::string>>;
std::optional<std::string_view> parameter(const Parameters& all, std::string_view name);
// "a=1&b=%20x": '+' is a space, the first '=' of a pair divides it. Errors: invalid_argument.
Result<Parameters> parse_query(std::string_view text);

// What handlers may use. Outlives the pool.
struct RouteContext {
    const ServerOptions& options;
    ServerParts parts;
    const std::atomic<bool>& stopping;
    Authenticator& auth;  // demand() only
    std::string address;
};

// Writes one answer from a worker thread, blocking while more than `unsent_max` bytes wait for the client.
// Owner: the worker that handles the call.
class Reply {
  public:
    static constexpr std::int64_t unsent_max = 1 << 20;

    Reply(Mailbox& mailbox, const Call& call, Clock& clock) : mailbox_(mailbox), call_(call), clock_(clock) {}

    // From then on nothing waits for the client any more: a query's worker is not held longer than the query may run,
    // however slowly its rows are read. Monotonic.
    void wait_until(std::int64_t deadline_us) { deadline_us_ = deadline_us; }

    // A whole answer, head and all, as it goes out.
    void send(int status, std::string bytes);
    // A streamed one: begin, any number of pieces, end (or cut). The bools are false once the client is gone, or is not
    // waited for any longer.
    bool begin(int status, std::string_view content_type);
    bool piece(std::string& bytes);  // sends and clears
    void end();
    void cut();  // an error after begin(): the connection ends without the last chunk
    bool began() const { return began_; }
    // The client's end is closed. It may be so only halfway, with the client listening: what costs nothing more is
    // still to be answered.
    bool hung_up() const { return call_.flow->hung_up.load(); }

  private:
    enum class Part : std::uint8_t { more, last, last_and_close, cut };
    bool post(std::string&& bytes, Part part);

    Mailbox& mailbox_;
    const Call& call_;
    Clock& clock_;
    std::int64_t unsent_ = 0;
    std::int64_t deadline_us_ = INT64_MAX;
    int status_ = 200;
    bool began_ = false, gone_ = false;
};

// Handlers. An answer is ignored when the handler streamed through `reply`.
Answer handle_sql(const RouteContext& context, const Call& call, const Parameters& parameters, Reply& reply);
Answer handle_streams(const RouteContext& context, const Parameters& parameters);
Answer handle_stream(const RouteContext& context, const Call& call);
Answer handle_events(const RouteContext& context, const Call& call, const Parameters& parameters);
Answer handle_views(const RouteContext& context);
Answer handle_cluster(const RouteContext& context);
Answer handle_history(const RouteContext& context, const Parameters& parameters);

// The router of the control plane; one a worker thread. cpp-httplib finds the handler and writes the answer, on
// streams in memory: it never sees a socket.
class Router {
  public:
    explicit Router(const RouteContext& context);
    ~Router();
    void handle(const Call& call, Reply& reply);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace weir::http
