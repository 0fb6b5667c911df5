#include "node/serve.h"

#include "node/client.h"
#include "node/console.h"
#include "node/exit_code.h"
#include "node/node.h"
#include "obs/log.h"
#include "os/clock.h"
#include "os/signals.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <unistd.h>

namespace weir::node {
namespace {

constexpr int look_every_ms = 2;

void print_banner(const Settings& settings, const std::string& http) {
    const std::string url = "http://" + http;
    const std::string server = url == default_server ? "          " : " --server " + url;
    const bool wants_key = !settings.api_keys.empty();
    const char* const bearer = wants_key ? "-H \"Authorization: Bearer $WEIR_API_KEY\" " : "";
    const std::string keys =
        wants_key ? "  API keys   " + std::to_string(settings.api_keys.size()) + "; without one nothing is served\n"
                  : "";
    std::fprintf(stderr,
                 "weir %s  node %s  data %s  (single node, durable)\n\n"
                 "  HTTP       http://%s/v1/streams/{name}/events\n"
                 "  SQL        http://%s/v1/sql\n"
                 "  Metrics    http://%s/metrics\n%s\n"
                 "  Try:  curl %s-d '{\"hello\":\"world\"}' http://%s/v1/streams/test/events\n"
                 "        weir sql 'SELECT * FROM test'%s  Ctrl-C to stop\n",
                 WEIR_VERSION, settings.node_id.c_str(), settings.data_dir.c_str(), http.c_str(), http.c_str(),
                 http.c_str(), keys.c_str(), bearer, http.c_str(), server.c_str());
}

// What named the folder, for an error about it.
std::string data_dir_source(const LoadedSettings& loaded) {
    const auto setting = std::ranges::find(loaded.effective, "node.data_dir", &EffectiveSetting::name);
    if (setting == loaded.effective.end() || setting->source.empty()) return "--data";
    return setting->origin == Origin::file ? setting->source + ": node.data_dir" : setting->source;
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
    std::error_code ignored;
    if (const auto facts = std::filesystem::status(loaded.settings.data_dir, ignored);
        std::filesystem::exists(facts) && !std::filesystem::is_directory(facts)) {
        std::fprintf(stderr, "error: %s %s is a file, not a folder\n", data_dir_source(loaded).c_str(),
                     printable(loaded.settings.data_dir).c_str());
        return code_of(Exit::usage);
    }
    // Somebody who looks on wants the banner first; a log file keeps every line.
    if (isatty(STDERR_FILENO) != 0) obs::set_log_level(obs::Level::warning);
    auto started = Node::start(loaded);
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
