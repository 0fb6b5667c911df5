// Takes a sample of the metrics every second, for the history (obs/history.h).
#pragma once

#include "base/clock.h"
#include "obs/history.h"
#include "os/progress.h"

#include <thread>

namespace weir::node {

class Sampler {
  public:
    // Both outlive this object.
    Sampler(obs::History& history, Clock& clock);
    ~Sampler();  // within a moment

  private:
    void run();
    obs::History& history_;
    Clock& clock_;
    os::Progress stop_;
    std::jthread thread_;
};

}  // namespace weir::node
