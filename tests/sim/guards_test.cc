// Each guard taken away in turn: the simulation must miss it within a few seeds. What it does not miss it does not
// prove either. The same seeds with every guard in place hold (one_node_test.cc). A guard's absence may also break a
// CHECK, which ends the process: every history runs in a child.
#include "obs/log.h"
#include "sim/one_node.h"

#include <catch2/catch_test_macros.hpp>

#include <csignal>
#include <cstdint>
#include <optional>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::sim {
namespace {

constexpr int exit_violation = 3;

// What did not hold; nullopt: everything did. A sanitizer's finding fails the test.
std::optional<std::string> finding_of(const HistoryOptions& options) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const rlimit no_core{0, 0};
        (void)::setrlimit(RLIMIT_CORE, &no_core);
        (void)std::signal(SIGABRT, SIG_DFL);
        (void)::dup2(ends[1], STDERR_FILENO);
        (void)::close(ends[0]);
        obs::set_log_level(obs::Level::error);
        const auto result = run_history(options);
        (void)!::write(STDERR_FILENO, result.violation.data(), result.violation.size());
        ::_exit(result.violation.empty() ? 0 : exit_violation);
    }
    (void)::close(ends[1]);
    std::string said;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
        said.append(buffer, static_cast<std::size_t>(got));
    (void)::close(ends[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return std::nullopt;
    const bool known = (WIFEXITED(status) && WEXITSTATUS(status) == exit_violation) ||
                       (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    INFO(said);
    REQUIRE(known);
    return said;
}

// The first of the seeds at which the history without `guard` fails, and what failed.
std::string missed(Guard guard, bool expiry = false, std::uint64_t seeds = 40) {
    for (std::uint64_t seed = 1; seed <= seeds; seed++) {
        const auto finding =
            finding_of({.seed = seed, .survival = 0.3, .crash_chance = 0.006, .expiry = expiry, .off = guard});
        if (finding) return "seed " + std::to_string(seed) + ": " + *finding;
    }
    return "";
}

}  // namespace

TEST_CASE("guards: with all of them in place the same seeds hold") {
    for (std::uint64_t seed = 1; seed <= 10; seed++) {
        for (const bool expiry : {false, true})
            CHECK_FALSE(finding_of({.seed = seed, .survival = 0.3, .crash_chance = 0.006, .expiry = expiry}));
    }
}

TEST_CASE("rule: a checkpoint is one act: without the fdatasync of any of its parts the simulation fails", "[rule]") {
    CHECK(missed(Guard::segment_flush) != "");
    CHECK(missed(Guard::journal_flush) != "");
    CHECK(missed(Guard::run_flush) != "");
    CHECK(missed(Guard::folder_flush) != "");
    CHECK(missed(Guard::sqlite_flush) != "");
    CHECK(missed(Guard::state_flush) != "");
}

TEST_CASE("rule: a checkpoint is one act: with its steps in another order the simulation fails", "[rule]") {
    CHECK(missed(Guard::files_before_state) != "");
    CHECK(missed(Guard::state_before_cut) != "");
}

TEST_CASE(
    "rule: an acknowledged event is fsynced: without the flush, or with the answer before it, the simulation fails",
    "[rule]") {
    CHECK(missed(Guard::flush_before_answer) != "");
    CHECK(missed(Guard::wal_flush) != "");
}

TEST_CASE(
    "rule: a new leader answers when the index is whole: without the ids above or in the runs the simulation fails",
    "[rule]") {
    CHECK(missed(Guard::ids_above_the_runs) != "");
    CHECK(missed(Guard::ids_in_the_runs) != "");
}

TEST_CASE("rule: time buckets of sorted runs: unlinked before the checkpoint, or never, the simulation fails",
          "[rule]") {
    CHECK(missed(Guard::checkpoint_before_unlink, true) != "");
    CHECK(missed(Guard::unlink, true) != "");
}

}  // namespace weir::sim
