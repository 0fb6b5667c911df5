#include "apply/checkpoint.h"

#include "base/check.h"
#include "base/wire.h"
#include "dedup/run.h"

#include <algorithm>
#include <map>
#include <utility>

namespace weir::apply {

std::string AppliedRecord::encode() const {
    std::string bytes;
    WireWriter out(bytes);
    out.u64(index.value);
    out.u64(term.value);
    out.i64(append_time_ms);
    out.u32(checkpoint_format);
    out.bytes(engine);
    out.i64(after_gap_ms);
    return bytes;
}

Result<AppliedRecord> AppliedRecord::decode(std::string_view bytes) {
    WireReader in(bytes);
    AppliedRecord record;
    record.index = LogIndex(in.u64());
    record.term = Term(in.u64());
    record.append_time_ms = in.i64();
    const auto format = in.u32();
    record.engine = std::string(in.bytes());
    if (in.ok() && !in.at_end()) record.after_gap_ms = in.i64();  // an earlier version wrote none
    if (!in.ok() || format != checkpoint_format) {
        return Error{Errc::corrupt, "the checkpoint has format " + std::to_string(format) + ", this version reads " +
                                        std::to_string(checkpoint_format)};
    }
    return record;
}

std::string StreamRecord::encode() const {
    std::string bytes;
    WireWriter out(bytes);
    out.u32(version);
    out.bytes(name);
    out.bytes(statement);
    out.i64(created_at_ms);
    out.u32(static_cast<std::uint32_t>(partitions.size()));
    for (const auto& partition : partitions)
        out.bytes(partition.encode());
    out.bytes(dead.encode());
    out.bytes(journal.encode());
    out.u64(counters.stored);
    out.u64(counters.duplicate);
    out.u64(counters.dead_lettered);
    out.u64(counters.refused);
    out.bytes(dedup::encode_runs(runs));
    out.u64(next_run);
    out.i64(expired_bucket);
    out.i64(first_arrival_ms);
    out.i64(last_tick_ms);
    for (std::size_t p = 0; p < partitions.size(); p++)
        out.i64(p < last_arrival_ms.size() ? last_arrival_ms[p] : INT64_MIN);
    return bytes;
}

Result<StreamRecord> StreamRecord::decode(std::string_view bytes) {
    WireReader in(bytes);
    StreamRecord record;
    record.version = in.u32();
    record.name = std::string(in.bytes());
    record.statement = std::string(in.bytes());
    record.created_at_ms = in.i64();
    const auto partitions = in.u32();
    for (std::uint32_t i = 0; i < partitions && in.ok(); i++) {
        record.partitions.push_back(TRY(log::PartitionState::decode(in.bytes())));
    }
    record.dead = TRY(log::PartitionState::decode(in.bytes()));
    record.journal = TRY(log::JournalState::decode(in.bytes()));
    record.counters.stored = in.u64();
    record.counters.duplicate = in.u64();
    record.counters.dead_lettered = in.u64();
    record.counters.refused = in.u64();
    const auto runs = in.bytes();
    if (!in.ok()) return Error{Errc::corrupt, "a stream's record in the checkpoint is cut"};
    record.runs = TRY(dedup::decode_runs(runs));
    record.next_run = in.u64();
    record.expired_bucket = in.i64();
    if (in.ok() && !in.at_end()) {
        record.first_arrival_ms = in.i64();
        record.last_tick_ms = in.i64();
        for (std::uint32_t i = 0; i < partitions; i++)
            record.last_arrival_ms.push_back(in.i64());
    }
    if (!in.ok() || !in.at_end()) return Error{Errc::corrupt, "a stream's record in the checkpoint is malformed"};
    return record;
}

std::string ViewRecord::encode() const {
    std::string bytes;
    WireWriter out(bytes);
    out.u64(stream.packed());
    out.bytes(name);
    out.bytes(statement);
    out.i64(created_at_ms);
    out.bytes(state);
    out.u64(built_up_to.value);
    return bytes;
}

Result<ViewRecord> ViewRecord::decode(std::string_view bytes) {
    WireReader in(bytes);
    ViewRecord record;
    record.stream = ObjectId::from_packed(in.u64());
    record.name = std::string(in.bytes());
    record.statement = std::string(in.bytes());
    record.created_at_ms = in.i64();
    record.state = std::string(in.bytes());
    if (in.ok() && !in.at_end()) record.built_up_to = LogIndex(in.u64());
    if (!in.ok() || !in.at_end()) return Error{Errc::corrupt, "a view's record in the checkpoint is malformed"};
    return record;
}

std::string CatalogRecord::encode() const {
    std::string bytes;
    WireWriter out(bytes);
    out.u8(static_cast<std::uint8_t>(kind));
    out.bytes(name);
    out.bytes(statement);
    out.u8(was_defined ? 1 : 0);
    return bytes;
}

Result<CatalogRecord> CatalogRecord::decode(std::string_view bytes) {
    WireReader in(bytes);
    CatalogRecord record;
    record.kind = static_cast<log::ObjectKind>(in.u8());
    record.name = std::string(in.bytes());
    record.statement = std::string(in.bytes());
    record.was_defined = in.u8() != 0;
    if (!in.ok() || !in.at_end()) return Error{Errc::corrupt, "a catalog record in the checkpoint is malformed"};
    return record;
}

std::string object_key(char kind, ObjectId id) {
    std::string key(1, kind);
    key.append(bytes_of(beu64(id.packed())));
    return key;
}

namespace {

// Writes the stream's new ids as runs, merges where a bucket has too many, and returns the list as it is now. What a
// merge replaces stays in memory until admission has the new list, so `held_bytes` only grows.
Result<CheckpointDone::Stream> write_stream_runs(os::Disk& disk, StreamRuns& stream, std::size_t& held_bytes,
                                                 std::size_t bytes_max, std::vector<std::string>& replaced) {
    CheckpointDone::Stream done;
    done.id = stream.id;
    done.runs = std::move(stream.runs);
    done.next_run = stream.record.next_run;
    auto open_run = [&](const dedup::RunState& state) -> Status {
        const std::size_t bytes = dedup::fences_bytes(state.count) + dedup::filter_bytes(state.count);
        const bool with_filter = bytes <= stream.kept_bytes && held_bytes + bytes <= bytes_max;
        done.runs.push_back(TRY(dedup::Run::open(disk, dedup::run_path(stream.dir, state.number), state, with_filter)));
        held_bytes += done.runs.back()->memory_bytes();
        return {};
    };
    bool any = false;
    for (auto& fresh : stream.fresh) {
        if (fresh.entries.empty()) continue;
        if (!any) TRY(disk.make_dirs(stream.dir));
        any = true;
        dedup::RunState state{fresh.bucket, done.next_run++, fresh.entries.size()};
        TRY(dedup::write_run(disk, dedup::run_path(stream.dir, state.number), std::move(fresh.entries)));
        TRY(open_run(state));
    }
    std::vector<dedup::RunState> states;
    for (const auto& run : done.runs)
        states.push_back(run->state());
    for (const auto& group : dedup::plan_merges(states)) {
        std::vector<std::shared_ptr<const dedup::Run>> sources;
        dedup::RunState merged;
        merged.number = done.next_run++;
        for (const auto& member : group) {
            const auto it = std::find_if(done.runs.begin(), done.runs.end(),
                                         [&](const auto& run) { return run->state().number == member.number; });
            CHECK(it != done.runs.end());
            merged.bucket = (*it)->state().bucket;
            merged.count += (*it)->state().count;
            sources.push_back(*it);
        }
        TRY(dedup::merge_runs(disk, dedup::run_path(stream.dir, merged.number), sources));
        for (const auto& source : sources) {
            replaced.push_back(source->path());
            std::erase(done.runs, source);
        }
        TRY(open_run(merged));
        any = true;
    }
    if (any) TRY(disk.sync_dir(stream.dir));
    // What found no room at an earlier checkpoint, and admission has made room for since.
    TRY(dedup::load_filters(disk, done.runs, stream.kept_bytes, bytes_max, held_bytes));
    stream.record.runs.clear();
    for (const auto& run : done.runs)
        stream.record.runs.push_back(run->state());
    stream.record.next_run = done.next_run;
    return done;
}

}  // namespace

Result<CheckpointDone> run_checkpoint(os::Disk& disk, stream::StateStore& state, CheckpointJob&& job) {
    CheckpointDone done;
    done.applied = job.applied;
    for (const auto& file : job.files)
        TRY(file->sync());
    for (const auto& dir : job.dirs)
        TRY(disk.sync_dir(dir));
    for (auto& stream : job.streams) {
        done.streams.push_back(
            TRY(write_stream_runs(disk, stream, job.run_bytes_held, job.run_bytes_max, done.replaced_runs)));
        job.changes.push_back({object_key('s', stream.id), stream.record.encode()});
    }
    job.changes.push_back({std::string(applied_key), job.applied.encode()});
    TRY(state.commit(job.changes));
    return done;
}

}  // namespace weir::apply
