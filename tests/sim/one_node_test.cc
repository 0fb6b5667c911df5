// One node in a simulated world: the real write-ahead log, consensus, admission, apply and SQLite on a disk that loses,
// tears and reorders what was not flushed; power cuts at any operation; one seed = one history, bit for bit.
//
// What must hold after every history: nothing acknowledged is lost; no id is stored twice; each acknowledged duplicate
// points at the stored event; offsets are dense; counters add up; the tables equal those of a replica that applied the
// same committed entries without any crash.
#include "apply/applier.h"
#include "apply/tables.h"
#include "base/prng.h"
#include "log/partition.h"
#include "log/wal.h"
#include "os/clock.h"
#include "os/sim_disk.h"
#include "record/batch.h"
#include "record/json.h"
#include "replica/admission.h"
#include "replica/flusher.h"
#include "replica/raft_loop.h"
#include "sql/statement.h"
#include "store/expression.h"
#include "stream/state_store.h"
#include "support/entry_buffer.h"
#include "support/sim_vfs.h"

#include <catch2/catch_test_macros.hpp>

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace weir {
namespace {

constexpr const char* stream_sql =
    "CREATE STREAM s (id TEXT, n INTEGER CHECK (n >= 0), kind TEXT, ts TIMESTAMP, EVENT TIME ts DELAY 5m MAX FUTURE "
    "36500d, "
    "DEDUP KEY (id) WITHIN 1h) PARTITIONS 3 RETAIN 7d";
constexpr const char* view_sql =
    "CREATE MATERIALIZED VIEW v AS SELECT window_start, kind, count(*) AS c, sum(n) AS total, max(n) AS top FROM "
    "TUMBLE(s, 10m) "
    "WHERE n < 90 GROUP BY window_start, kind LATENESS 10m EMIT CHANGES";
constexpr std::int64_t first_event_ms = 1'700'000'000'000;

struct Node;

// What outlives a crash: the disk, the state store, the clock, the client's memory, and the history of committed
// entries.
struct World {
    Prng prng;
    os::SimClock clock;
    os::SimDisk disk;
    std::unique_ptr<stream::StateStore> state = stream::make_memory_store();
    bool dead = false;                               // the power was cut; components must be thrown away
    std::map<std::uint64_t, std::string> committed;  // index -> entry bytes, as first told
    // The client's side
    std::uint64_t next_id = 1;
    std::vector<std::string> unanswered;  // event lines whose fate is unknown: sent again
    std::map<std::string, std::pair<PartitionNo, std::int64_t>> acked;
    std::uint64_t acked_requests = 0, crashes = 0;

    explicit World(std::uint64_t seed, os::SimDiskOptions options = {}) : prng(seed), disk(seed * 31 + 7, options) {}

    std::string new_event() {
        const std::uint64_t id = next_id++;
        // Event times wander: mostly forward, some far back.
        const std::int64_t at = first_event_ms + static_cast<std::int64_t>(id) * 20'000 -
                                static_cast<std::int64_t>(prng.below(prng.chance(0.1) ? 4'000'000 : 200'000));
        const char* kinds[] = {"a", "b", "c"};
        return "{\"id\":\"e" + std::to_string(id) + "\",\"n\":" + std::to_string(prng.below(100)) + ",\"kind\":\"" +
               kinds[prng.below(3)] + "\",\"ts\":" + std::to_string(at) + "}";
    }
};

std::string id_of(const std::string& line) {
    const auto begin = line.find("\"id\":\"") + 6;
    return line.substr(begin, line.find('"', begin) - begin);
}

// One life of the process: everything that a crash takes away.
struct Node {
    World& world;
    std::deque<replica::AdmissionMessage> to_admission;
    std::deque<replica::RaftMessage> to_raft;
    std::deque<replica::FlushJob> to_flusher;
    std::deque<log::Committed> to_apply;
    std::deque<apply::CheckpointJob> to_checkpoint;
    std::unique_ptr<replica::Admission> admission;
    std::unique_ptr<replica::RaftLoop> raft;
    std::unique_ptr<replica::Flusher> flusher;
    std::unique_ptr<apply::Applier> applier;
    std::shared_ptr<const apply::Definitions> definitions;
    bool carry = true;  // columns travel, or apply decodes again

    explicit Node(World& w) : world(w) {}

    Status open() {
        log::WalOptions wal_options;
        wal_options.file_bytes = 64 * 1024;
        wal_options.wal_bytes = 256 * 1024;
        auto wal = TRY(log::Wal::open(world.disk, "d/wal", wal_options));
        replica::AdmissionOptions admission_options;
        admission_options.dedup_memory = 4 << 20;
        admission = std::make_unique<replica::Admission>(
            admission_options, world.clock,
            replica::Admission::Outputs{
                [this](replica::Proposal&& p) { to_raft.push_back(replica::message::Propose{std::move(p)}); },
                [this](LogIndex i, replica::Waiter&& w) {
                    to_raft.push_back(replica::message::WaitOn{i, std::move(w)});
                },
                [this](const Error&) { world.dead = true; }});
        log::RecoveredShard recovered;
        if (auto it = wal->recovered().find(ShardId(0)); it != wal->recovered().end()) recovered = it->second;
        raft = TRY(replica::RaftLoop::start(
            {ShardId(0), 1, 1}, world.clock, world.disk, "d/wal", recovered,
            replica::RaftLoop::Outputs{
                [this](replica::FlushJob&& job) { to_flusher.push_back(std::move(job)); },
                [this](log::Committed&& entry) {
                    if (entry.is_command) {
                        // A committed entry never changes: what was told once is told again after a crash.
                        std::string bytes;
                        if (entry.buffer) {
                            for (const auto& piece : entry.buffer->owned)
                                bytes += piece;
                        } else {
                            auto read = log::read_entry(world.disk, "d/wal", entry.place);
                            REQUIRE(read.has_value());
                            bytes = read.value();
                        }
                        const auto [at, fresh] = world.committed.emplace(entry.index.value, bytes);
                        if (!fresh) REQUIRE(at->second == bytes);
                    }
                    to_apply.push_back(std::move(entry));
                },
                [this](replica::AdmissionMessage&& m) { to_admission.push_back(std::move(m)); }}));
        flusher = std::make_unique<replica::Flusher>(
            std::move(wal), world.disk, "d", 0, world.clock,
            replica::Flusher::Outputs{
                [this](ShardId, replica::message::Persisted&& p) { to_raft.push_back(std::move(p)); },
                [this](bool full) { to_admission.push_back(replica::message::DiskState{full}); },
                [this](ShardId) { applier->want_checkpoint(); }, nullptr, [this](const Error&) { world.dead = true; }});
        apply::ApplyOptions options;
        options.dir = "d/shards/0";
        options.wal_dir = "d/wal";
        options.database = {"sim", true, 1024};
        options.partition.segment_bytes = 32 * 1024;
        options.partition.index_interval = 1024;
        options.dedup_memory = 4 << 20;
        options.checkpoint_every_us = 300'000;
        options.unlink_after_us = 500'000;
        options.last_at_start = raft->last_at_start();
        options.wal_checkpoint = recovered.start.checkpoint_index;
        applier = TRY(apply::Applier::open(
            options, world.disk, world.clock, *world.state,
            apply::Applier::Outputs{
                [this](std::shared_ptr<const apply::Definitions> d) { definitions = std::move(d); },
                [this](std::vector<apply::StreamFacts>&& facts) {
                    replica::message::Recovered m;
                    m.last_append_ms = applier->last_append_ms();
                    for (auto& f : facts)
                        m.streams.push_back(admission_of(std::move(f)));
                    to_admission.push_back(std::move(m));
                },
                [this](apply::StreamFacts&& f) {
                    to_admission.push_back(replica::message::StreamDefined{admission_of(std::move(f))});
                },
                [this](ObjectId id) { to_admission.push_back(replica::message::StreamDropped{id}); },
                [this](LogIndex i) { to_admission.push_back(replica::message::AppliedUpTo{i}); },
                [this] { to_admission.push_back(replica::message::CheckpointBegan{}); },
                [this](apply::StreamFacts&& f, LogIndex covered) {
                    replica::message::RunsAdopted m;
                    m.stream = f.stream->id;
                    m.runs = std::move(f.runs);
                    m.covered = covered;
                    m.oldest_append_ms = f.oldest_append_ms;
                    m.oldest_bucket = f.oldest_bucket;
                    to_admission.push_back(std::move(m));
                },
                [this](LogIndex i, Term t) {
                    to_raft.push_back(replica::message::Checkpointed{i, t});
                },
                [](bool) {}, [this](apply::CheckpointJob&& job) { to_checkpoint.push_back(std::move(job)); }}));
        return {};
    }

    static replica::StreamAdmission admission_of(apply::StreamFacts&& f) {
        replica::StreamAdmission a;
        a.stream = f.stream;
        a.end_offsets = f.end_offsets;
        a.dead_end_offset = f.dead_end_offset;
        a.runs = std::move(f.runs);
        a.recent = std::move(f.recent);
        a.recent_index = f.recent_index;
        a.oldest_append_ms = f.oldest_append_ms;
        a.oldest_bucket = f.oldest_bucket;
        return a;
    }

    // One random piece of work. False: the power is cut.
    bool step(std::uint64_t choice) {
        auto fine = [this](const Status& status) {
            if (!status) world.dead = true;
        };
        switch (choice % 6) {
            case 0:
                for (std::size_t n = world.prng.below(4) + 1; n > 0 && !to_admission.empty(); n--) {
                    admission->on_message(std::move(to_admission.front()));
                    to_admission.pop_front();
                }
                (void)admission->step();
                break;
            case 1:
                for (std::size_t n = world.prng.below(4) + 1; n > 0 && !to_raft.empty(); n--) {
                    raft->on_message(std::move(to_raft.front()));
                    to_raft.pop_front();
                }
                (void)raft->step();
                break;
            case 2:
                for (; !to_flusher.empty(); to_flusher.pop_front())
                    flusher->on_job(std::move(to_flusher.front()));
                (void)flusher->step();
                break;
            case 3:
                for (std::size_t n = world.prng.below(3) + 1; n > 0 && !to_apply.empty() && !world.dead; n--) {
                    auto entry = std::move(to_apply.front());
                    to_apply.pop_front();
                    // Now and then queue 2 was full: apply reads the entry back from the write-ahead log.
                    if (entry.is_command && entry.place.length > 0 && world.prng.chance(0.2)) entry.buffer.reset();
                    fine(applier->apply(std::move(entry)));
                }
                break;
            case 4: {
                const auto settled = applier->settle(world.prng.chance(0.2));
                if (!settled) world.dead = true;
                break;
            }
            case 5:
                if (!to_checkpoint.empty() && world.prng.chance(0.5)) {
                    auto job = std::move(to_checkpoint.front());
                    to_checkpoint.pop_front();
                    auto done = apply::run_checkpoint(world.disk, *world.state, std::move(job));
                    if (done) {
                        applier->checkpoint_done(std::move(done).value());
                    } else {
                        world.dead = true;
                    }
                }
                break;
        }
        world.clock.mono_us += static_cast<std::int64_t>(world.prng.below(3000));
        world.clock.wall = 1'700'000'000'000 + world.clock.mono_us / 1000;
        return !world.dead;
    }

    bool ready() const { return admission->ready() && applier->recovered(); }

    record::StreamPtr stream() const {
        return definitions && !definitions->streams.empty() ? definitions->streams.front() : nullptr;
    }

    void send(std::vector<std::string> lines) {
        auto def = stream();
        std::string body;
        for (const auto& line : lines)
            body += line + "\n";
        body.reserve(body.size() + record::JsonDecoder::padding_bytes);
        auto events = std::make_unique<record::DecodedEvents>();
        auto checks = store::compile_checks(def->schema);
        REQUIRE(checks.has_value());
        record::JsonDecoder decoder;
        decoder.decode(def->schema, record::BodyShape::ndjson, body, world.clock.wall, {42}, checks.value().get(),
                       *events);
        replica::IngestRequest request;
        request.stream = def;
        request.body = std::move(body);
        request.events = std::move(events);
        request.content_type = "application/x-ndjson";
        auto* w = &world;
        request.done = [w, lines](replica::IngestOutcome&& outcome) {
            if (!outcome.status) return;  // lines stay unanswered: sent again
            w->acked_requests++;
            for (const auto& line : lines)
                std::erase(w->unanswered, line);
            // Which place each got: duplicates are told, the others fill the ranges (checked against the log at the
            // end).
            for (const auto& d : outcome.duplicate_of)
                w->acked[id_of(lines.at(d.index))] = {d.partition, d.offset};
            for (const auto& line : lines) {
                if (!w->acked.contains(id_of(line))) w->acked[id_of(line)] = {-9, 0};
            }
        };
        to_admission.push_back(std::move(request));
    }

    void control(log::Section section, bool alone = false) {
        replica::message::Control c;
        c.section = log::encode_section(section);
        c.applied = [](LogIndex, const Status&) {};
        c.alone = alone;
        to_admission.push_back(std::move(c));
    }
};

// What the stream holds, read as a reader would.
std::map<std::string, std::pair<PartitionNo, std::int64_t>> read_stream(World& world, Node& node,
                                                                        std::uint64_t& duplicates) {
    std::map<std::string, std::pair<PartitionNo, std::int64_t>> found;
    duplicates = 0;
    const auto def = node.stream();
    for (PartitionNo p = 0; p < def->schema.partitions; p++) {
        const std::string dir = apply::partition_dir("d/shards/0", def->id, p);
        std::int64_t next = 0;
        const auto names = world.disk.list(dir);
        REQUIRE(names.has_value());
        std::string bytes;
        for (const auto& name : names.value()) {
            if (!name.ends_with(".log")) continue;
            auto read = os::read_file(world.disk, dir + "/" + name, 64 << 20);
            REQUIRE(read.has_value());
            bytes += read.value();
        }
        std::string_view left = bytes;
        while (!left.empty()) {
            auto batch = record::read_batch(left);
            REQUIRE(batch.has_value());
            REQUIRE(record::check_crc(batch.value()).has_value());
            REQUIRE(batch.value().header.base_offset == next);  // dense
            auto records = record::RecordIterator::open(batch.value(), 64 << 20);
            REQUIRE(records.has_value());
            record::Record r;
            for (;;) {
                auto more = records.value().next(r);
                REQUIRE(more.has_value());
                if (!more.value()) break;
                REQUIRE(r.offset == next++);
                if (!found.emplace(id_of(std::string(r.value)), std::pair{p, r.offset}).second) duplicates++;
            }
            left.remove_prefix(batch.value().bytes.size());
        }
    }
    return found;
}

void run_until_quiet(World& world, Node& node, int steps_max) {
    for (int i = 0; i < steps_max; i++) {
        REQUIRE(node.step(static_cast<std::uint64_t>(i)));
        if (node.to_admission.empty() && node.to_raft.empty() && node.to_flusher.empty() && node.to_apply.empty() &&
            node.ready() && node.admission->idle() && node.applier->applied() == node.raft->committed() &&
            node.applier->visible() == node.applier->applied() && i > 50) {
            return;
        }
    }
    FAIL("the node does not come to rest");
    (void)world;
}

// Runs one history; returns the tables at its end.
std::string run_history(std::uint64_t seed, double sector_survival, int steps, double crash_chance,
                        std::uint64_t* crashes = nullptr) {
    os::SimDiskOptions options;
    options.sector_survival = sector_survival;
    options.name_survival = sector_survival;
    World world(seed, options);
    test::SimVfs vfs("sim", world.disk);
    std::unique_ptr<Node> node;
    bool asked_stream = false;
    std::uint64_t cut_at = 0;
    world.disk.on_operation([&] {
        if (cut_at > 0 && world.disk.operations() >= cut_at) return false;
        return true;
    });
    auto restart = [&] {
        for (;;) {
            node.reset();
            world.dead = false;
            world.disk.crash();
            world.crashes++;
            // Recovery itself may lose its power too.
            cut_at = world.prng.chance(0.3) ? world.disk.operations() + world.prng.below(60) + 1 : 0;
            node = std::make_unique<Node>(world);
            const auto opened = node->open();
            if (opened && !world.dead) {
                if (cut_at == 0) return;
                cut_at = 0;
                return;
            }
            if (cut_at == 0 || world.disk.operations() < cut_at) {
                FAIL("seed " << seed << ": recovery failed: " << (opened ? "dead" : opened.error().detail));
            }
        }
    };
    restart();
    for (int i = 0; i < steps; i++) {
        if (crash_chance > 0 && cut_at == 0 && world.prng.chance(crash_chance)) {
            cut_at = world.disk.operations() + world.prng.below(40) + 1;
        }
        if (!node->step(world.prng.next())) {
            restart();
            asked_stream = false;
            continue;
        }
        if (node->ready() && node->definitions) {
            if (node->definitions->streams.empty() && !asked_stream) {
                asked_stream = true;
                if (node->definitions->loose.empty()) {
                    node->control(log::CatalogPut{log::ObjectKind::stream, "s", stream_sql}, true);
                }
            }
            for (const auto& loose : node->definitions->loose) {
                if (loose.kind == log::ObjectKind::stream)
                    node->control(log::DefineStream{loose.id, 1, loose.name, loose.statement});
                else
                    node->control(log::DefineView{loose.id, node->stream()->id, loose.name, loose.statement});
            }
            if (!node->definitions->loose.empty()) {
                auto without = std::make_shared<apply::Definitions>(*node->definitions);
                without->loose.clear();
                node->definitions = without;
            }
            // The view comes into being over events that are there.
            if (node->stream() && node->definitions->views.empty() && i > steps / 4 && world.prng.chance(0.02)) {
                node->control(log::CatalogPut{log::ObjectKind::view, "v", view_sql}, true);
            }
        }
        if (node->ready() && node->stream() && world.prng.chance(0.15)) {
            std::vector<std::string> lines;
            for (std::size_t n = world.prng.below(8) + 1; n > 0; n--) {
                if (!world.unanswered.empty() && world.prng.chance(0.3)) {
                    lines.push_back(world.unanswered[world.prng.below(world.unanswered.size())]);
                } else {
                    lines.push_back(world.new_event());
                    world.unanswered.push_back(lines.back());
                }
            }
            node->send(std::move(lines));
        }
    }
    cut_at = 0;
    if (world.dead) restart();
    run_until_quiet(world, *node, 200'000);
    std::uint64_t stored_twice = 0;
    if (node->stream() == nullptr) return "";
    // Everything unanswered is sent once more: now each event has an answer.
    for (const auto& line : std::vector<std::string>(world.unanswered))
        node->send({line});
    run_until_quiet(world, *node, 200'000);
    REQUIRE(world.unanswered.empty());

    const auto found = read_stream(world, *node, stored_twice);
    REQUIRE(stored_twice == 0);
    for (const auto& [id, place] : world.acked) {
        INFO("seed " << seed << " id " << id);
        REQUIRE(found.contains(id));                            // nothing acknowledged is lost
        if (place.first != -9) REQUIRE(found.at(id) == place);  // a duplicate's answer names the first one
    }
    auto digest = node->applier->digest();
    REQUIRE(digest.has_value());
    // Counters: what is stored is counted once, as rows of values "type:integer:real:text|".
    const std::string head = "SELECT * FROM _counters ORDER BY stream\n";
    std::string_view row = std::string_view(digest.value()).substr(digest.value().find(head) + head.size());
    row.remove_prefix(row.find('|') + 1);  // the stream
    row.remove_prefix(row.find(':') + 1);  // the type
    REQUIRE(std::stoull(std::string(row.substr(0, row.find(':')))) == found.size());

    // A replica that never crashed: the same entries, decoded from their bytes.
    World other(seed + 1'000'000);
    test::SimVfs other_vfs("sim-replica", other.disk);
    apply::ApplyOptions reference_options;
    reference_options.dir = "d/shards/0";
    reference_options.wal_dir = "d/wal";
    reference_options.database = {"sim-replica", true, 1024};
    reference_options.partition.segment_bytes = 32 * 1024;
    reference_options.partition.index_interval = 1024;
    auto reference = apply::Applier::open(
        reference_options, other.disk, other.clock, *other.state,
        apply::Applier::Outputs{[](auto) {}, [](auto&&) {}, [](auto&&) {}, [](auto) {}, [](auto) {}, [] {},
                                [](auto&&, auto) {}, [](auto, auto) {}, [](bool) {}, [](auto&&) {}});
    REQUIRE(reference.has_value());
    const std::uint64_t last = node->applier->applied().value;
    for (std::uint64_t index = 1; index <= last; index++) {
        log::Committed entry;
        entry.index = LogIndex(index);
        entry.term = Term(1);
        const auto it = world.committed.find(index);
        entry.is_command = it != world.committed.end();
        if (entry.is_command) {
            auto buffer = test::buffer_of(it->second);
            REQUIRE(buffer != nullptr);
            entry.buffer = std::move(buffer);
        }
        REQUIRE(reference.value()->apply(std::move(entry)).has_value());
    }
    REQUIRE(reference.value()->settle(true).has_value());
    auto reference_digest = reference.value()->digest();
    REQUIRE(reference_digest.has_value());
    INFO("seed " << seed);
    REQUIRE(digest.value() == reference_digest.value());
    if (crashes != nullptr) *crashes += world.crashes;
    return digest.value();
}

}  // namespace

TEST_CASE("one node: no crash, everything is stored once and the tables equal a replay's") {
    for (std::uint64_t seed = 1; seed <= 10; seed++)
        CHECK_FALSE(run_history(seed, 1.0, 3000, 0).empty());
}

TEST_CASE("one node: power cuts at any operation lose nothing that was acknowledged") {
    std::uint64_t crashes = 0;
    for (std::uint64_t seed = 100; seed < 160; seed++)
        run_history(seed, 0.5, 3000, 0.004, &crashes);
    CHECK(crashes > 200);
}

TEST_CASE("one node: nothing unflushed survives a power cut") {
    for (std::uint64_t seed = 300; seed < 320; seed++)
        run_history(seed, 0.0, 2500, 0.004);
}

TEST_CASE("one node: the same seed is the same history") {
    CHECK(run_history(4711, 0.5, 2500, 0.004) == run_history(4711, 0.5, 2500, 0.004));
}

}  // namespace weir
