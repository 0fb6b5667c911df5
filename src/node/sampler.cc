#include "node/sampler.h"

#include "os/thread.h"

#include <algorithm>
#include <chrono>

namespace weir::node {
namespace {

constexpr std::int64_t every_us = 1'000'000;

}  // namespace

Sampler::Sampler(obs::History& history, Clock& clock) : history_(history), clock_(clock) {
    thread_ = os::start_thread("weir-sampler", [this] { run(); });
}

Sampler::~Sampler() {
    stop_.advance(1);
    thread_.join();
}

// In the middle of each of its seconds, so that a thread that wakes a little early or late still hits every one.
void Sampler::run() {
    const std::int64_t start_us = clock_.monotonic_us();
    history_.sample(clock_.wall_ms(), start_us);
    while (true) {
        const std::int64_t gone_us = clock_.monotonic_us() - start_us;
        const std::int64_t wait_us = (gone_us / every_us + 1) * every_us + every_us / 2 - gone_us;
        if (stop_.wait_for(1, std::chrono::milliseconds(std::max<std::int64_t>(wait_us / 1000, 1)))) return;
        history_.sample(clock_.wall_ms(), clock_.monotonic_us());
    }
}

}  // namespace weir::node
