// The power is cut at the 1st, the 2nd, the 3rd ... operation on a simulated disk, until a round comes through whole.
#pragma once

#include "os/sim_disk.h"

#include <catch2/catch_test_macros.hpp>

#include <cstdint>

namespace weir::test {

class PowerCut {
  public:
    // `at`: the operation that the cut meets, from 1.
    PowerCut(std::uint64_t at, std::uint64_t seed, os::SimDiskOptions options) : disk(seed + at, options), at_(at) {}

    os::SimDisk disk;

    // Operations count from here; what came before is set-up.
    void arm() { arm(at_); }
    void arm(std::uint64_t at) {
        disk.on_operation([this, end = disk.operations() + at] {
            came_ = came_ || disk.operations() >= end;
            return disk.operations() < end;
        });
    }
    std::uint64_t at() const { return at_; }
    bool came() const { return came_; }
    // The power is back, and stays: what was not durable may be gone.
    void restart() {
        disk.on_operation({});
        disk.crash();
    }
    // Lives until one comes through: the first meets the cut, the others, which begin with a restart, do not. A life
    // may fail for a reason of its own some times; what fails again and again is the test's failure.
    template <class Life>  // Status()
    void live(Life life) {
        arm();
        Status lived = life();
        for (int more = 0; !lived; more++) {
            if (more == lives_max) FAIL(lived.error().detail);
            restart();
            lived = life();
        }
        disk.on_operation({});
    }

  private:
    static constexpr int lives_max = 100;
    std::uint64_t at_;
    bool came_ = false;
};

// Each `round` has a disk of its own, made from `seed` and the number of the round. Returns how many rounds met their
// cut.
template <class Round>  // void(PowerCut&)
std::uint64_t cut_power_at_every_operation(os::SimDiskOptions options, Round round, std::uint64_t seed = 0) {
    for (std::uint64_t at = 1;; at++) {
        INFO("power cut at operation " << at);
        PowerCut power(at, seed, options);
        round(power);
        if (!power.came()) return at - 1;
    }
}

}  // namespace weir::test
