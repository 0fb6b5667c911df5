#include "replica/flusher.h"

#include "os/clock.h"
#include "os/sim_disk.h"

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <vector>

namespace weir::replica {
namespace {

struct Bench {
    os::SimClock clock;
    os::SimDisk disk{1, {}};
    std::vector<message::Persisted> persisted;
    std::vector<bool> full;
    int fatal = 0, wants = 0;
    std::unique_ptr<Flusher> flusher;

    explicit Bench(std::uint64_t wal_bytes = 64 << 20, std::uint64_t reserve = 0) {
        auto wal = log::Wal::open(disk, "d/wal", {256 * 1024, wal_bytes});
        REQUIRE(wal.has_value());
        flusher = std::make_unique<Flusher>(
            std::move(wal).value(), disk, "d", reserve, clock,
            Flusher::Outputs{[this](ShardId, message::Persisted&& p) { persisted.push_back(std::move(p)); },
                             [this](bool f) { full.push_back(f); }, [this](ShardId) { wants++; }, nullptr,
                             [this](const Error&) { fatal++; }});
    }
    // A shard's hard state comes before its first entry.
    void first_job() {
        FlushJob j;
        j.hard_state = true;
        j.start.incarnation = 1;
        j.start.term = Term(1);
        flusher->on_job(std::move(j));
    }
    void job(std::uint64_t index, std::size_t bytes = 10) {
        FlushJob j;
        FlushJob::Item item;
        item.index = LogIndex(index);
        item.term = Term(1);
        item.entry_type = 1;
        item.own = std::string(bytes, 'x');
        j.items.push_back(std::move(item));
        flusher->on_job(std::move(j));
    }
};

}  // namespace

TEST_CASE("rule: an acknowledged event is fsynced: one flush covers everything that came meanwhile", "[rule]") {
    Bench b;
    b.first_job();
    for (std::uint64_t i = 1; i <= 5; i++)
        b.job(i);
    CHECK(b.persisted.empty());
    (void)b.flusher->step();
    REQUIRE(b.persisted.size() == 1);
    CHECK(b.persisted[0].index == LogIndex(5));
    CHECK(b.persisted[0].places.size() == 5);
    CHECK(b.flusher->counters().flushes == 1);
}

TEST_CASE("flusher: below the reserve admission is told, and told again when there is room") {
    Bench b(64 << 20, 1 << 20);
    b.disk.set_capacity(b.disk.used_bytes() + (2 << 20));
    (void)b.flusher->step();
    CHECK(b.full.empty());
    b.disk.set_capacity(b.disk.used_bytes() + 1000);
    b.clock.advance_ms(1000);
    (void)b.flusher->step();
    CHECK(b.full == std::vector<bool>{true});
    b.disk.set_capacity(b.disk.used_bytes() + (4 << 20));
    b.clock.advance_ms(1000);
    (void)b.flusher->step();
    CHECK(b.full == std::vector<bool>{true, false});
}

TEST_CASE(
    "rule: an acknowledged event is fsynced: a write that finds no space acknowledges nothing, and goes through later",
    "[rule]") {
    Bench b;
    b.first_job();
    b.job(1);
    (void)b.flusher->step();
    b.disk.set_capacity(b.disk.used_bytes());
    for (std::uint64_t i = 2; i < 40; i++)
        b.job(i, 50'000);  // needs new files
    (void)b.flusher->step();
    CHECK(b.persisted.size() == 1);
    CHECK(b.full == std::vector<bool>{true});
    CHECK(b.fatal == 0);
    b.disk.set_capacity(UINT64_MAX);
    b.clock.advance_ms(1000);
    (void)b.flusher->step();
    REQUIRE(b.persisted.size() == 2);
    CHECK(b.persisted[1].index == LogIndex(39));
}

TEST_CASE("rule: an acknowledged event is fsynced: a failed write or flush is fatal and acknowledges nothing",
          "[rule]") {
    Bench b;
    b.first_job();
    b.job(1);
    b.disk.on_operation([] { return false; });
    (void)b.flusher->step();
    CHECK(b.fatal == 1);
    CHECK(b.persisted.empty());
}

TEST_CASE("rule: one write-ahead log, reused files: a log over wal_bytes asks for a checkpoint", "[rule]") {
    Bench b(512 * 1024);
    b.first_job();
    for (std::uint64_t i = 1; i < 40; i++) {
        b.job(i, 50'000);
        (void)b.flusher->step();
    }
    CHECK(b.wants > 0);
}

}  // namespace weir::replica
