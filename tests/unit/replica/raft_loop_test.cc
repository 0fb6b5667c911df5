#include "replica/raft_loop.h"

#include "log/entry.h"
#include "os/clock.h"
#include "os/sim_disk.h"

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <vector>

namespace weir::replica {
namespace {

// The raft loop with its neighbours played by the test: the flusher writes to a real write-ahead log on a simulated
// disk.
struct Bench {
    os::SimClock clock;
    os::SimDisk disk{1, {0}};  // what was not synced does not survive
    std::unique_ptr<log::Wal> wal;
    std::vector<FlushJob> jobs;
    std::vector<log::Committed> committed;
    std::vector<AdmissionMessage> told;
    std::unique_ptr<RaftLoop> loop;
    LogIndex next;

    Bench() { open(); }
    void open() {
        loop.reset();
        wal.reset();
        auto opened = log::Wal::open(disk, "wal", {1 << 20, 8 << 20});
        REQUIRE(opened.has_value());
        wal = std::move(opened).value();
        log::RecoveredShard recovered;
        if (auto it = wal->recovered().find(ShardId(0)); it != wal->recovered().end()) recovered = it->second;
        auto started = RaftLoop::start({}, clock, disk, "wal", recovered,
                                       {[this](FlushJob&& j) { jobs.push_back(std::move(j)); },
                                        [this](log::Committed&& c) { committed.push_back(std::move(c)); },
                                        [this](AdmissionMessage&& m) {
                                            if (auto* leading = std::get_if<message::Leading>(&m))
                                                next = leading->next_index;
                                            told.push_back(std::move(m));
                                        }});
        REQUIRE(started.has_value());
        loop = std::move(started).value();
    }
    void flush() {
        auto now = std::move(jobs);
        jobs.clear();
        for (auto& job : now) {
            if (job.hard_state) REQUIRE(wal->append_start(job.shard, job.start).has_value());
            std::vector<log::WalEntry> entries;
            for (auto& item : job.items) {
                log::WalEntry entry{job.shard, item.index, item.term, item.entry_type, {}};
                if (item.buffer) {
                    for (const auto& piece : item.buffer->owned)
                        entry.payload.push_back(piece);
                } else {
                    entry.payload.push_back(item.own);
                }
                entries.push_back(std::move(entry));
            }
            std::vector<log::WalPlace> places;
            if (entries.empty()) {
                REQUIRE(wal->sync().has_value());
                continue;
            }
            REQUIRE(wal->append(entries, places).has_value());
            REQUIRE(wal->sync().has_value());
            message::Persisted persisted;
            for (std::size_t i = 0; i < entries.size(); i++)
                persisted.places.emplace_back(entries[i].index, places[i]);
            persisted.index = entries.back().index;
            loop->on_message(std::move(persisted));
        }
    }
    void settle() {
        while (!jobs.empty())
            flush();
    }
    Proposal proposal(int& answered) {
        Proposal p;
        p.index = next;
        next = LogIndex(next.value + 1);
        p.buffer = std::make_shared<log::EntryBuffer>();
        p.buffer->owned.push_back(log::encode_entry_head(1, 0));
        p.buffer->bytes = p.buffer->owned[0].size();
        Waiter w;
        w.done = [&answered](IngestOutcome&& o) { answered += o.status ? 1 : -1; };
        p.waiters.push_back(std::move(w));
        return p;
    }
};

}  // namespace

TEST_CASE("raft loop: one voter leads as soon as its first entries are durable, and tells admission where it stands") {
    Bench b;
    b.settle();
    CHECK(b.loop->leads());
    CHECK(b.next.value == b.loop->committed().value + 1);
}

TEST_CASE("rule: an acknowledged event is fsynced: an answer leaves after the flush, in order of the entries",
          "[rule]") {
    Bench b;
    b.settle();
    int answered = 0;
    b.loop->on_message(message::Propose{b.proposal(answered)});
    b.loop->on_message(message::Propose{b.proposal(answered)});
    CHECK(answered == 0);
    const auto before = b.committed.size();
    b.settle();
    CHECK(answered == 2);
    REQUIRE(b.committed.size() == before + 2);
    CHECK(b.committed[before].index < b.committed[before + 1].index);
    CHECK(b.committed[before].place.length > 0);  // apply could read it back
}

TEST_CASE("raft loop: a waiter on an entry in flight is told with it, one on a committed entry at once") {
    Bench b;
    b.settle();
    int answered = 0, waited = 0;
    auto p = b.proposal(answered);
    const auto index = p.index;
    b.loop->on_message(message::Propose{std::move(p)});
    auto waiter = [&waited] { return Waiter{[&waited](IngestOutcome&&) { waited++; }, {}}; };
    b.loop->on_message(message::WaitOn{index, waiter()});
    CHECK(waited == 0);
    b.settle();
    CHECK(waited == 1);
    b.loop->on_message(message::WaitOn{index, waiter()});
    CHECK(waited == 2);
}

TEST_CASE("raft loop: after a restart everything durable is committed again, above the checkpoint only") {
    Bench b;
    b.settle();
    int answered = 0;
    for (int i = 0; i < 5; i++)
        b.loop->on_message(message::Propose{b.proposal(answered)});
    b.settle();
    const auto last = b.loop->committed();
    const auto term = b.committed.back().term;
    b.committed.clear();
    b.open();
    b.settle();
    CHECK(b.loop->last_at_start() == last);
    REQUIRE_FALSE(b.committed.empty());
    CHECK(b.committed.front().index == LogIndex(1));
    b.loop->on_message(message::Checkpointed{LogIndex(last.value - 1), term});
    b.settle();
    b.committed.clear();
    b.open();
    b.settle();
    REQUIRE_FALSE(b.committed.empty());
    CHECK(b.committed.front().index == last);
    CHECK(b.loop->leads());
}

TEST_CASE(
    "rule: an acknowledged event is fsynced: what was not flushed before a power cut was told to nobody, and is gone",
    "[rule]") {
    Bench b;
    b.settle();
    int kept = 0, lost = 0;
    b.loop->on_message(message::Propose{b.proposal(kept)});
    b.settle();
    CHECK(kept == 1);
    const auto last = b.loop->committed();
    b.loop->on_message(message::Propose{b.proposal(lost)});
    REQUIRE(b.jobs.size() == 1);
    // Written, and the flush never came back.
    std::vector<log::WalPlace> places;
    log::WalEntry entry{b.jobs[0].shard,
                        b.jobs[0].items.at(0).index,
                        b.jobs[0].items[0].term,
                        b.jobs[0].items[0].entry_type,
                        {b.jobs[0].items[0].buffer->owned.at(0)}};
    REQUIRE(b.wal->append({entry}, places).has_value());
    b.jobs.clear();
    CHECK(b.loop->committed() == last);
    CHECK(lost == 0);
    b.disk.crash();
    b.open();
    b.settle();
    CHECK(b.loop->last_at_start() == last);
    CHECK(b.loop->committed() == last);
    CHECK(lost == 0);
}

}  // namespace weir::replica
