#include "node/serve.h"

#include "node/exit_code.h"
#include "node/node.h"
#include "os/clock.h"
#include "os/signals.h"

#include <cstdio>
#include <string>
#include <unistd.h>

namespace weir::node {
namespace {

constexpr int look_every_ms = 2;

void print_banner(const Settings& settings, const std::string& http) {
    std::fprintf(stderr,
                 "weir %s  node %s  data %s  (single node, durable)\n\n"
                 "  HTTP       http://%s/v1/streams/{name}/events\n"
                 "  SQL        http://%s/v1/sql\n"
                 "  Metrics    http://%s/metrics\n\n"
                 "  Try:  curl -d '{\"hello\":\"world\"}' http://%s/v1/streams/test/events\n"
                 "        weir sql 'SELECT * FROM test'            Ctrl-C to stop\n",
                 WEIR_VERSION, settings.node_id.c_str(), settings.data_dir.c_str(), http.c_str(), http.c_str(),
                 http.c_str(), http.c_str());
}

}  // namespace

int serve(const LoadedSettings& loaded) {
    os::RealClock clock;
    const std::int64_t started_us = clock.monotonic_us();
    os::ignore_sigpipe();
    auto signals = os::StopSignals::take();  // before any thread: they inherit the mask
    if (!signals) {
        std::fprintf(stderr, "error: %s\n", signals.error().detail.c_str());
        return code_of(Exit::failed);
    }
    auto started = Node::start(loaded.settings);
    if (!started) {
        std::fprintf(stderr, "error: %s\n", started.error().detail.c_str());
        return code_of(exit_of(started.error().code));
    }
    auto node = std::move(started).value();
    print_banner(loaded.settings, node->http_address());
    bool told = false;
    for (;;) {
        const auto signal = signals.value().wait(told ? -1 : look_every_ms);
        if (!signal) {
            std::fprintf(stderr, "error: %s\n", signal.error().detail.c_str());
            return code_of(Exit::failed);
        }
        if (!told && node->ready()) {
            told = true;
            std::fprintf(stderr, "ready in %lld ms\n",
                         static_cast<long long>((clock.monotonic_us() - started_us) / 1000));
        }
        if (signal.value() != 0) break;
    }
    std::fprintf(stderr, "stopping: finishing what is in flight\n");
    node.reset();
    std::fprintf(stderr, "stopped\n");
    return code_of(Exit::ok);
}

}  // namespace weir::node
