#include "sim/one_node.h"

#include "apply/tables.h"
#include "dedup/run.h"
#include "record/json.h"
#include "store/expression.h"
#include "support/sim_state_store.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace weir::sim {
namespace {

test::LyingDisk::Lies lies_without(Guard guard) {
    auto flushes_of = [](std::string_view where, std::string_view suffix) -> test::LyingDisk::Lies {
        return [=](test::LyingDisk::Call call, const std::string& path) {
            return call == test::LyingDisk::Call::sync && path.find(where) != std::string::npos &&
                   path.ends_with(suffix);
        };
    };
    switch (guard) {
        case Guard::wal_flush:
            return flushes_of("d/wal/", ".wal");
        case Guard::segment_flush:
            return flushes_of("/streams/", ".log");
        case Guard::journal_flush:
            return flushes_of("/journal/", ".jnl");
        case Guard::run_flush:
            return flushes_of("/dedup/", ".dd");
        case Guard::sqlite_flush:
            return flushes_of("view.db", "-wal");
        case Guard::state_flush:
            return flushes_of("/state", "");
        case Guard::folder_flush:
            return [](test::LyingDisk::Call call, const std::string& path) {
                return call == test::LyingDisk::Call::sync_dir && path.find("/streams") != std::string::npos;
            };
        case Guard::unlink:
            return [](test::LyingDisk::Call call, const std::string& path) {
                return call == test::LyingDisk::Call::remove && path.ends_with(".dd");
            };
        default:
            return {};
    }
}

replica::StreamAdmission admission_of(apply::StreamFacts&& f) {
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

}  // namespace

World::World(std::uint64_t seed, os::SimDiskOptions options, Guard guard_off)
    : prng(seed),
      real_disk(seed * 31 + 7, options),
      disk(real_disk, lies_without(guard_off)),
      vfs("sim", disk),
      off(guard_off) {
    real_disk.on_operation([this] { return !power_is_cut(); });
}

Status Node::open() {
    log::WalOptions wal_options;
    wal_options.file_bytes = 64 * 1024;
    wal_options.wal_bytes = 256 * 1024;
    replica::AdmissionOptions admission_options;
    admission_options.dedup_memory = 4 << 20;
    apply::ApplyOptions apply_options;
    apply_options.dir = shard_dir;
    apply_options.wal_dir = wal_dir;
    apply_options.database = {world.vfs.name(), true, 1024};
    apply_options.partition.segment_bytes = 32 * 1024;
    apply_options.partition.index_interval = 1024;
    apply_options.dedup_memory = 4 << 20;
    apply_options.checkpoint_every_us = 300'000;
    apply_options.unlink_after_us = 500'000;
    if (world.tune) world.tune(admission_options, wal_options, apply_options);

    auto wal = TRY(log::Wal::open(world.disk, wal_dir, wal_options));
    log::RecoveredShard recovered;
    if (auto it = wal->recovered().find(ShardId(0)); it != wal->recovered().end()) recovered = it->second;
    TRY(world.disk.make_dirs(shard_dir));
    state = TRY(test::open_sim_state_store(world.disk, std::string(shard_dir) + "/state"));
    admission = std::make_unique<replica::Admission>(
        admission_options, world.clock,
        replica::Admission::Outputs{[this](replica::Proposal&& p) {
                                        if (world.off == Guard::flush_before_answer) {
                                            for (auto& waiter : std::exchange(p.waiters, {}))
                                                waiter.done(std::move(waiter.outcome));
                                        }
                                        to_raft.push_back(replica::message::Propose{std::move(p)});
                                    },
                                    [this](LogIndex i, replica::Waiter&& w) {
                                        to_raft.push_back(replica::message::WaitOn{i, std::move(w)});
                                    },
                                    [this](const Error& error) { world.on_error("dedup index", error); }});
    raft = TRY(replica::RaftLoop::start(
        {ShardId(0), 1, 1}, world.clock, world.disk, wal_dir, recovered,
        replica::RaftLoop::Outputs{[this](replica::FlushJob&& job) { to_flusher.push_back(std::move(job)); },
                                   [this](log::Committed&& entry) { on_committed(std::move(entry)); },
                                   [this](replica::AdmissionMessage&& m) { to_admission.push_back(std::move(m)); }}));
    flusher = std::make_unique<replica::Flusher>(
        std::move(wal), world.disk, data_dir, 0, world.clock,
        replica::Flusher::Outputs{[this](ShardId, replica::message::Persisted&& p) { to_raft.push_back(std::move(p)); },
                                  [this](bool full) { to_admission.push_back(replica::message::DiskState{full}); },
                                  [this](ShardId) { applier->want_checkpoint(); }, nullptr,
                                  [this](const Error& error) { world.on_error("write-ahead log", error); }});
    apply_options.last_at_start = raft->last_at_start();
    apply_options.wal_checkpoint = recovered.start.checkpoint_index;
    applier = TRY(apply::Applier::open(apply_options, world.disk, world.clock, *state, applier_outputs()));
    return {};
}

apply::Applier::Outputs Node::applier_outputs() {
    return {[this](std::shared_ptr<const apply::Definitions> d) { definitions = std::move(d); },
            [this](std::vector<apply::StreamFacts>&& facts) {
                replica::message::Recovered m;
                m.last_append_ms = applier->last_append_ms();
                for (auto& f : facts) {
                    if (world.off == Guard::ids_above_the_runs) f.recent.clear();
                    if (world.on_runs) world.on_runs(f.runs);
                    m.streams.push_back(admission_of(std::move(f)));
                }
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
                if (world.on_runs) world.on_runs(f.runs);
                if (world.off != Guard::ids_in_the_runs) m.runs = std::move(f.runs);
                m.covered = covered;
                m.oldest_append_ms = f.oldest_append_ms;
                m.oldest_bucket = f.oldest_bucket;
                m.bytes = f.bytes;
                to_admission.push_back(std::move(m));
            },
            [this](LogIndex i, Term t) {
                to_raft.push_back(replica::message::Checkpointed{i, t});
            },
            [](bool) {},
            [this](apply::CheckpointJob&& job) {
                if (world.off == Guard::state_before_cut)
                    to_raft.push_back(replica::message::Checkpointed{job.applied.index, job.applied.term});
                to_checkpoint.push_back(std::move(job));
            },
            [this](ObjectId id, std::int64_t tick_due_ms, bool keep_log) {
                to_admission.push_back(replica::message::StreamNeeds{id, tick_due_ms, keep_log});
            },
            [this](ObjectId id) { control(log::ViewLive{id}); }};
}

// A committed entry never changes: what was told once is told again after a crash.
void Node::on_committed(log::Committed&& entry) {
    if (entry.is_command) {
        std::string bytes;
        if (entry.buffer) {
            for (const auto& piece : entry.buffer->owned)
                bytes += piece;
        } else {
            auto read = log::read_entry(world.disk, wal_dir, entry.place);
            if (!read) return world.on_error("reading a committed entry", read.error());
            bytes = std::move(read).value();
        }
        const auto [at, fresh] = world.committed.emplace(entry.index.value, bytes);
        if (!fresh && at->second != bytes)
            return world.fail("entry " + std::to_string(entry.index.value) + " was committed twice, differently");
    }
    to_apply.push_back(std::move(entry));
}

void Node::run_checkpoint_job() {
    auto job = std::move(to_checkpoint.front());
    to_checkpoint.pop_front();
    std::vector<std::shared_ptr<os::File>> files;
    std::vector<std::string> dirs;
    if (world.off == Guard::files_before_state) {
        files = std::exchange(job.files, {});
        dirs = std::exchange(job.dirs, {});
    }
    auto done = apply::run_checkpoint(world.disk, *state, std::move(job));
    if (!done) return world.on_error("checkpoint", done.error());
    for (const auto& file : files) {
        if (const auto synced = file->sync(); !synced) return world.on_error("late sync", synced.error());
    }
    for (const auto& dir : dirs) {
        if (const auto synced = world.disk.sync_dir(dir); !synced) return world.on_error("late sync", synced.error());
    }
    applier->checkpoint_done(std::move(done).value());
}

// What Guard::checkpoint_before_unlink stands for, done wrong: files go while the last checkpoint still lists them.
void Node::unlink_too_early(const log::Entry& entry) {
    for (const auto& section : entry.sections) {
        const auto* retain = std::get_if<log::Retain>(&section);
        if (retain == nullptr) continue;
        const auto listed = state->get(apply::object_key('s', retain->stream));
        if (!listed || !listed.value()) continue;
        const auto record = apply::StreamRecord::decode(*listed.value());
        if (!record) continue;
        const std::string dir = apply::stream_dir(shard_dir, retain->stream) + "/dedup";
        for (const auto& run : record.value().runs) {
            if (run.bucket <= retain->dedup_bucket) (void)world.disk.remove(dedup::run_path(dir, run.number));
        }
    }
}

bool Node::step(std::uint64_t choice) {
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
                const LogIndex index = entry.index;
                const bool is_command = entry.is_command;
                if (is_command && entry.place.length > 0 && world.prng.chance(world.queue_full_chance))
                    entry.buffer.reset();
                const auto applied = applier->apply(std::move(entry));
                if (!applied) world.on_error("apply", applied.error());
                if (is_command && world.off == Guard::checkpoint_before_unlink) {
                    const auto decoded = log::decode_entry(world.committed.at(index.value));
                    if (decoded) unlink_too_early(decoded.value());
                }
            }
            break;
        case 4: {
            const auto settled = applier->settle(world.prng.chance(0.2));
            if (!settled) world.on_error("settle", settled.error());
            break;
        }
        case 5:
            if (!to_checkpoint.empty() && world.prng.chance(0.5)) run_checkpoint_job();
            break;
    }
    world.clock.mono_us += static_cast<std::int64_t>(world.prng.below(3000));
    world.clock.wall = 1'700'000'000'000 + world.clock.mono_us / 1000;
    return !world.dead;
}

bool Node::quiet() const {
    const bool building = definitions && std::ranges::any_of(definitions->views,
                                                             [](const auto& view) { return view.state == "building"; });
    return !building && to_admission.empty() && to_raft.empty() && to_flusher.empty() && to_apply.empty() && ready() &&
           admission->idle() && applier->applied() == raft->committed() && applier->visible() == applier->applied();
}

bool Node::run_until_quiet(int steps_max) {
    for (int i = 0; i < steps_max; i++) {
        if (!step(static_cast<std::uint64_t>(i))) return false;
        if (i > 50 && quiet()) return true;
    }
    world.fail("the node does not come to rest");
    return false;
}

bool Node::checkpoint() {
    applier->want_checkpoint();
    for (int i = 0; i < 10'000; i++) {
        if (!step(static_cast<std::uint64_t>(i))) return false;
        if (i > 50 && quiet() && to_checkpoint.empty() && applier->checkpoint_is_current()) {
            world.clock.advance_ms(1000);
            return step(4);
        }
    }
    world.fail("a checkpoint does not come to its end");
    return false;
}

record::StreamPtr Node::stream() const {
    return definitions && !definitions->streams.empty() ? definitions->streams.front() : nullptr;
}

void Node::send(const std::string& ndjson, Answer answer) {
    auto def = stream();
    std::string body = ndjson;
    body.reserve(body.size() + record::JsonDecoder::padding_bytes);
    auto events = std::make_unique<record::DecodedEvents>();
    auto checks = store::compile_checks(def->schema);
    if (!checks) return world.fail("CHECK does not compile: " + checks.error().detail);
    record::JsonDecoder decoder;
    decoder.decode(def->schema, record::BodyShape::ndjson, body, world.clock.wall, {42}, checks.value().get(), *events);
    replica::IngestRequest request;
    request.stream = def;
    request.body = std::move(body);
    request.events = std::move(events);
    request.content_type = "application/x-ndjson";
    request.done = std::move(answer);
    to_admission.push_back(std::move(request));
}

void Node::control(const log::Section& section, bool alone) {
    replica::message::Control c;
    c.section = log::encode_section(section);
    c.applied = [](LogIndex, const Status&) {};
    c.alone = alone;
    to_admission.push_back(std::move(c));
}

void Node::define_loose() {
    if (!definitions || definitions->loose.empty()) return;
    for (const auto& loose : definitions->loose) {
        if (loose.kind == log::ObjectKind::stream)
            control(log::DefineStream{loose.id, 1, loose.name, loose.statement});
        else
            control(log::DefineView{loose.id, stream()->id, loose.name, loose.statement});
    }
    auto without = std::make_shared<apply::Definitions>(*definitions);
    without->loose.clear();
    definitions = without;
}

}  // namespace weir::sim
