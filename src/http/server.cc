#include "http/server.h"

#include "base/check.h"
#include "http/detail/call.h"
#include "http/detail/live_door.h"
#include "http/detail/loop.h"
#include "http/detail/mailbox.h"
#include "http/detail/workers.h"
#include "os/thread.h"

#include <atomic>
#include <thread>
#include <utility>

namespace weir::http {
namespace {

// Members in the order of their making; what is below uses what is above.
class HttpServer : public Server {
  public:
    HttpServer(ServerOptions options, ServerParts parts) : options_(std::move(options)), parts_(parts) {}
    ~HttpServer() override { stop(0); }

    Status listen() {
        mailbox_ = TRY(Mailbox::make());
        live_ = std::make_unique<LiveDoor>(options_, parts_, mailbox_);
        loop_ = TRY(Loop::open(options_, parts_, auth_, *live_, mailbox_));
        context_.address = loop_->address();
        return {};
    }

    void start() override {
        CHECK(!thread_.joinable() && !stopped_);
        workers_ = std::make_unique<Workers>(context_, mailbox_, options_.pool_threads, options_.pool_waiting_max);
        live_->start();
        thread_ = os::start_thread("weir-http", [this] { loop_->run(*workers_); });
    }

    void stop(std::int64_t drain_ms) override {
        if (std::exchange(stopped_, true)) return;
        if (thread_.joinable()) {
            mailbox_->post(StopRequested{drain_ms});
            thread_.join();
        }
        stopping_.store(true);  // what the workers still do has no reader any more
        // Before the workers are joined: a query whose client has gone would hold them up to its own deadline.
        if (workers_) parts_.queries.stop();
        if (workers_ && parts_.tail_queries != nullptr) parts_.tail_queries->stop();
        workers_.reset();
        loop_.reset();
        live_.reset();  // behind the loop, whose connections speak to it
    }

    std::string address() const override { return context_.address; }

  private:
    ServerOptions options_;
    ServerParts parts_;
    std::atomic<bool> stopping_{false};
    Authenticator auth_{options_.keys, parts_.metrics, parts_.clock};
    RouteContext context_{options_, parts_, stopping_, auth_, {}};
    std::shared_ptr<Mailbox> mailbox_;
    std::unique_ptr<LiveDoor> live_;
    std::unique_ptr<Loop> loop_;
    std::unique_ptr<Workers> workers_;
    std::jthread thread_;
    bool stopped_ = false;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::open(ServerOptions options, ServerParts parts) {
    auto server = std::make_unique<HttpServer>(std::move(options), parts);
    TRY(server->listen());
    return std::unique_ptr<Server>(std::move(server));
}

}  // namespace weir::http
