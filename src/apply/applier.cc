#include "apply/applier.h"

#include "apply/detail/build.h"
#include "apply/detail/state.h"
#include "apply/tables.h"
#include "base/check.h"
#include "base/limits.h"
#include "obs/log.h"
#include "record/batch.h"
#include "sql/statement.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace weir::apply {
namespace {

constexpr std::size_t flush_bytes = 4 * limits::mib;     // queued appends before they are written
constexpr std::size_t late_bytes_max = 4 * limits::mib;  // late rows before a row commit is forced
constexpr std::uint64_t recent_id_bytes = 256;  // dedup memory an id costs until its checkpoint: tables, run, sorting
constexpr std::uint64_t replay_entries_max = 200;
constexpr std::uint64_t recent_ids_min = 16 * limits::kib;
constexpr std::int64_t tick_every_ms = 100;  // a stream's ticks are this far apart, at least

Error disk_error(Error error, const std::string& what) {
    error.detail = what + ": " + error.detail;
    return error;
}

}  // namespace

std::string folded(std::string name) {
    for (auto& c : name) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return name;
}

Applier::Applier(ApplyOptions options, os::Disk& disk, Clock& clock, stream::StateStore& state, Outputs outputs)
    : options_(std::move(options)), disk_(disk), clock_(clock), state_(state), outputs_(std::move(outputs)) {}

Applier::~Applier() = default;

Result<std::unique_ptr<Applier>> Applier::open(ApplyOptions options, os::Disk& disk, Clock& clock,
                                               stream::StateStore& state, Outputs outputs) {
    auto applier = std::unique_ptr<Applier>(new Applier(std::move(options), disk, clock, state, std::move(outputs)));
    TRY(applier->recover());
    return applier;
}

void Applier::touch(Stream& stream) {
    stream.changed = true;
    if (stream.touched) return;
    stream.touched = true;
    touched_.push_back(&stream);
}

Status Applier::apply(log::Committed&& committed) {
    if (committed.index <= applied_) {
        // Already in the checkpoint. Nobody waits for it: the waiters were those of the process before.
        CHECK(committed.done.empty());
        return {};
    }
    CHECK(committed.index.value == applied_.value + 1);
    counters_.entries.fetch_add(1, std::memory_order_relaxed);
    const LogIndex index = committed.index;
    busy_ = true;
    if (committed.is_command) {
        if (committed.buffer) {
            const auto entry = TRY(log::decode_entry(*committed.buffer));
            applied_ = index;
            applied_term_ = committed.term;
            TRY(apply_entry(entry, committed.buffer.get(), committed.done));
            held_bytes_ += committed.buffer->bytes + committed.buffer->carried_bytes;
            held_.push_back(std::move(committed.buffer));
        } else {
            counters_.from_wal.fetch_add(1, std::memory_order_relaxed);
            auto bytes = std::make_shared<std::string>(TRY(log::read_entry(disk_, options_.wal_dir, committed.place)));
            bytes->reserve(bytes->size() + record::JsonDecoder::padding_bytes);
            const auto entry = TRY(log::decode_entry(*bytes));
            applied_ = index;
            applied_term_ = committed.term;
            TRY(apply_entry(entry, nullptr, committed.done));
            held_bytes_ += bytes->size();
            held_strings_.push_back(std::move(bytes));
        }
    }
    applied_ = index;
    applied_term_ = committed.term;
    unsettled_ = true;
    if (applied_ == rows_index_) {
        // SQLite holds everything up to here already.
        for (auto& [id, view] : views_) {
            if (view->tumble) view->tumble->discard_dirty_rows();
        }
    }
    if (held_bytes_ >= flush_bytes) {
        auto flushed = flush_logs();
        // On a full disk the queue stays as it is and is written when there is room; admission takes nothing meanwhile.
        if (!flushed && flushed.error().code != Errc::disk_full) return flushed;
    }
    return {};
}

// A write that fails half way through a transaction or a checkpoint ends the process, so none is begun on a full disk:
// rows and checkpoints wait for room, as the doors do.
bool Applier::has_room() {
    const auto free_bytes = disk_.free_bytes(options_.dir);
    const bool room = !free_bytes || free_bytes.value() >= options_.disk_min_bytes;
    if (room != had_room_) {
        had_room_ = room;
        obs::log(room ? obs::Level::info : obs::Level::error, room ? "apply_goes_on" : "apply_waits_for_disk",
                 {{"dir", options_.dir}, {"min_free_bytes", std::to_string(options_.disk_min_bytes)}});
    }
    return room;
}

Status Applier::apply_entry(const log::Entry& entry, const log::EntryBuffer* buffer,
                            std::vector<log::ControlDone>& done) {
    if (last_append_ms_ != INT64_MIN && entry.append_time_ms - last_append_ms_ > limits::append_gap_ms)
        after_gap_ms_ = entry.append_time_ms;
    last_append_ms_ = std::max(last_append_ms_, entry.append_time_ms);
    const std::int64_t append_ms = entry.append_time_ms;
    std::vector<std::pair<log::ControlDone, Status>> answers;
    std::size_t next_done = 0;
    auto answer = [&](Status status) {
        if (next_done < done.size()) answers.emplace_back(std::move(done[next_done++]), std::move(status));
    };
    auto mark = [this](log::JournalKind kind, std::int64_t at_ms) {
        log::JournalRecord record;
        record.index = applied_;
        record.append_time_ms = at_ms;
        record.kind = kind;
        return record;
    };
    // One journal record a stream that the entry brings events of, in order of first touch; one a tick and flush.
    std::vector<std::pair<Stream*, log::JournalRecord>> journal;
    for (std::size_t i = 0; i < entry.sections.size(); i++) {
        const auto& section = entry.sections[i];
        if (const auto* batch = std::get_if<log::BatchSection>(&section)) {
            if (batch->stream.is_null() && !streams_.contains(batch->stream))
                TRY(define_stream({batch->stream, 1, "answers", answers_statement}, append_ms));
            const auto it = streams_.find(batch->stream);
            if (it == streams_.end()) continue;  // dropped in an entry before this one: its events go with it
            TRY(apply_batch(*batch, buffer != nullptr ? &buffer->parts[i] : nullptr, append_ms));
            Stream& stream = *it->second;
            auto at = std::find_if(journal.begin(), journal.end(), [&](const auto& item) {
                return item.first == &stream && item.second.kind == log::JournalKind::data;
            });
            if (at == journal.end()) {
                log::JournalRecord record;
                record.index = applied_;
                record.append_time_ms = append_ms;
                record.definition_version = batch->version;
                journal.emplace_back(&stream, std::move(record));
                at = journal.end() - 1;
            }
            at->second.batches.push_back({batch->partition, batch->count, batch->base_offset});
        } else if (const auto* counts = std::get_if<log::CountsSection>(&section)) {
            const auto it = streams_.find(counts->stream);
            if (it == streams_.end()) continue;
            it->second->counters.duplicate += counts->duplicate;
            it->second->counters.refused += counts->refused;
            touch(*it->second);
        } else if (const auto* put = std::get_if<log::CatalogPut>(&section)) {
            answer(put_catalog(*put));
        } else if (const auto* drop = std::get_if<log::CatalogDrop>(&section)) {
            drop_catalog(drop->id);
            answer({});
        } else if (const auto* stream = std::get_if<log::DefineStream>(&section)) {
            // Where segments end hangs on the definition as of their append.
            if (streams_.contains(stream->id)) TRY(flush_logs());
            answer(define_stream(*stream, append_ms));
        } else if (const auto* view = std::get_if<log::DefineView>(&section)) {
            answer(define_view(*view, append_ms));
        } else if (const auto* gone = std::get_if<log::DropStream>(&section)) {
            const auto it = streams_.find(gone->id);
            const Stream* dropped = it != streams_.end() ? it->second.get() : nullptr;
            auto status = drop_stream(gone->id, gone->with_views);
            // A journal record that this entry began for the stream goes with it.
            if (status) std::erase_if(journal, [&](const auto& item) { return item.first == dropped; });
            answer(std::move(status));
        } else if (const auto* gone_view = std::get_if<log::DropView>(&section)) {
            answer(drop_view(gone_view->id));
        } else if (const auto* retain = std::get_if<log::Retain>(&section)) {
            TRY(apply_retain(*retain));
            answer({});
        } else if (const auto* tick = std::get_if<log::Tick>(&section)) {
            if (const auto it = streams_.find(tick->stream); it != streams_.end()) {
                journal.emplace_back(it->second.get(), mark(log::JournalKind::tick, append_ms));
                TRY(apply_tick(*it->second, append_ms));
            }
            answer({});
        } else if (const auto* flush = std::get_if<log::Flush>(&section)) {
            const auto it = views_.find(flush->view);
            if (it == views_.end()) {
                answer(Error{Errc::not_found, "the view was dropped"});
                continue;
            }
            auto record = mark(log::JournalKind::flush, append_ms);
            record.batches.push_back({log::journal_view_mark, 0, static_cast<std::int64_t>(flush->view.packed())});
            journal.emplace_back(streams_.at(it->second->stream).get(), std::move(record));
            answer(apply_flush(*it->second));
        } else if (const auto* live = std::get_if<log::ViewLive>(&section)) {
            if (const auto it = views_.find(live->view); it != views_.end()) TRY(apply_view_live(*it->second));
            answer({});
        }
    }
    for (auto& [stream, record] : journal)
        TRY(stream->journal->append(record));
    if (!answers.empty()) answers_.emplace_back(applied_, std::move(answers));
    return {};
}

Status Applier::apply_batch(const log::BatchSection& section, const log::EntryBuffer::Part* part,
                            std::int64_t append_ms) {
    Stream& stream = *streams_.at(section.stream);
    if (section.partition >= static_cast<PartitionNo>(stream.partitions.size())) {
        return Error{Errc::corrupt, "entry " + std::to_string(applied_.value) + " has a batch for partition " +
                                        std::to_string(section.partition) + " of " + stream.def->name +
                                        ", which has fewer"};
    }
    auto& log = stream.partition(section.partition);
    CHECK(section.base_offset == log.end_offset());
    const auto appended = log.append(section.batch, section.base_offset, static_cast<std::int32_t>(section.count),
                                     section.min_time_ms, section.max_time_ms, append_ms);
    if (!appended) return disk_error(appended.error(), "appending to " + stream.def->name);
    touch(stream);
    stream.touched_partitions.insert(section.partition);
    counters_.records.fetch_add(section.count, std::memory_order_relaxed);
    if (section.partition == dead_letter_partition) {
        stream.counters.dead_lettered += section.count;
        return {};
    }
    stream.counters.stored += section.count;
    stream.arrivals.on_records(section.partition, append_ms);
    if (!section.fingerprints.empty()) {
        auto& ids = stream.recent[dedup::bucket_of(append_ms, stream.def->schema.dedup_within_ms)];
        for (std::uint32_t i = 0; i < section.count; i++) {
            if (!section.fingerprints[i].has_key()) continue;
            ids.push_back({section.fingerprints[i], dedup::Place::of(section.partition, section.base_offset + i)});
            recent_ids_++;
        }
    }
    const bool fed =
        std::any_of(stream.views.begin(), stream.views.end(), [](const View* view) { return !view->build; });
    if (fed) TRY(feed_views(stream, section, part, append_ms));
    return {};
}

Status Applier::feed_views(Stream& stream, const log::BatchSection& section, const log::EntryBuffer::Part* part,
                           std::int64_t append_ms) {
    // What was validated under an earlier definition has other columns: replay reads them from the bytes, and so it is
    // done here.
    if (part != nullptr && !part->carried.empty() && section.version == stream.def->version) {
        std::int64_t offset = section.base_offset;
        for (const auto& carried : part->carried) {
            for (auto* view : stream.views) {
                if (view->build) continue;  // reads it from the log
                TRY(feed_view(*view, section.partition, offset, carried.events->columns, carried.rows, append_ms,
                              section.batch));
            }
            offset += static_cast<std::int64_t>(carried.rows.size());
        }
        CHECK(offset == section.base_offset + section.count);
        return {};
    }
    TRY(decode_batch(stream, section.batch, append_ms, scratch_));
    counters_.decoded_again.fetch_add(section.count, std::memory_order_relaxed);
    std::vector<std::uint32_t> rows(scratch_.rows);
    for (std::uint32_t i = 0; i < rows.size(); i++)
        rows[i] = i;
    for (auto* view : stream.views) {
        if (view->build) continue;
        TRY(feed_view(*view, section.partition, section.base_offset, scratch_, rows, append_ms, section.batch));
    }
    return {};
}

Status Applier::decode_batch(const Stream& stream, std::string_view bytes, std::int64_t append_ms,
                             record::ColumnBatch& out) {
    const auto batch = TRY(record::read_batch(bytes));
    auto records = TRY(record::RecordIterator::open(batch, limits::batch_bytes_max));
    out.reset(stream.def->schema);
    record::Record record;
    std::string padded;
    const std::vector<bool> all;
    while (TRY(records.next(record))) {
        padded.assign(record.value);
        padded.append(record::JsonDecoder::padding_bytes, '\0');
        const_cast<Stream&>(stream).decoder.decode_stored(
            stream.def->schema, std::string_view(padded).substr(0, record.value.size()), append_ms, all, out);
    }
    return {};
}

Status Applier::feed_view(View& view, PartitionNo partition, std::int64_t base_offset,
                          const record::ColumnBatch& columns, std::span<const std::uint32_t> rows,
                          std::int64_t append_ms, std::string_view bytes) {
    if (view.stopped()) return {};
    stream::PartitionRows input;
    input.partition = partition;
    input.base_offset = base_offset;
    input.columns = &columns;
    input.rows = rows;
    input.append_time_ms = append_ms;
    std::vector<stream::LateRow> late;
    const auto done = view.tumble->process(input, late);
    view.changed = view.touched = true;
    if (!done) {
        if (done.error().code != Errc::too_large) return done.error();
        stop_view(view, done.error().detail + "; DROP it and CREATE it with fewer groups or less LATENESS");
        return {};
    }
    if (late.empty() || !writes_rows()) return {};
    counters_.late.fetch_add(late.size(), std::memory_order_relaxed);
    // Late rows are rare: their bytes are looked up in the batch.
    const auto batch = TRY(record::read_batch(bytes));
    auto records = TRY(record::RecordIterator::open(batch, limits::batch_bytes_max));
    record::Record record;
    std::size_t next = 0;
    while (next < late.size() && TRY(records.next(record))) {
        while (next < late.size() && late[next].offset == record.offset) {
            PendingLate row;
            row.view = &view;
            row.partition = partition;
            row.offset = record.offset;
            row.window_start_ms = late[next].window_start_ms;
            row.event_time_ms = late[next].event_time_ms;
            row.raw = std::string(record.value);
            late_bytes_ += row.raw.size() + sizeof(PendingLate);
            late_.push_back(std::move(row));
            next++;
        }
    }
    if (next != late.size()) return Error{Errc::corrupt, "a late record is not in its batch"};
    // A build over a long log may find any number of them: they go to SQLite's open transaction, not to memory.
    if (late_bytes_ >= late_bytes_max) TRY(spill_late());
    return {};
}

void Applier::stop_view(View& view, std::string why) {
    obs::log(obs::Level::error, "view_stopped", {{"view", view.name}, {"why", why}});
    view.state = "stopped: " + why;
    view.state_changed = view.changed = view.touched = true;
    definitions_changed_ = true;
    if (auto it = streams_.find(view.stream); it != streams_.end()) touch(*it->second);
}

void Applier::count_builds() {
    builds_ = static_cast<std::size_t>(std::count_if(views_.begin(), views_.end(), [](const auto& item) {
        return item.second->build && !item.second->build->told_caught_up;
    }));
}

// A slice of the builds. Beside ingest they get a quarter of the thread's time, alone all of it.
Status Applier::run_builds() {
    const std::int64_t begin_us = clock_.monotonic_us();
    if (begin_us < next_build_us_) return {};
    constexpr std::int64_t slice_us = 3'000;
    constexpr std::uint64_t step_events = 2'000;
    TRY(flush_logs());
    for (auto& [id, view] : views_) {
        if (!view->build || view->build->told_caught_up) continue;
        Stream& stream = *streams_.at(view->stream);
        bool all = false;
        do {
            all = TRY(view->build->feed(*this, *view, stream, step_events));
        } while (!all && clock_.monotonic_us() - begin_us < slice_us);
        view->changed = view->touched = view->state_changed = true;
        unsettled_ = true;
        // What is left is fed when the entry comes, in one go.
        if (view->stopped() || view->build->left(stream) <= step_events * 8) {
            view->build->told_caught_up = true;
            if (outputs_.view_caught_up) outputs_.view_caught_up(id);
        }
        if (late_bytes_ >= late_bytes_max) TRY(spill_late());
    }
    count_builds();
    const std::int64_t end_us = clock_.monotonic_us();
    next_build_us_ = busy_ ? end_us + (end_us - begin_us) * 3 : end_us;
    busy_ = false;
    return {};
}

// Up to the entry before this one from the log; from this one on as the entries come.
Status Applier::apply_view_live(View& view) {
    if (!view.build) return {};
    Stream& stream = *streams_.at(view.stream);
    TRY(flush_logs());
    while (!TRY(view.build->feed(*this, view, stream, UINT64_MAX / 2))) {
    }
    view.tumble->release_rows();  // what it was made from is shown at once
    view.changed = view.touched = true;
    view.build.reset();
    count_builds();
    if (!view.stopped()) view.state = "live";
    view.state_changed = definitions_changed_ = true;
    touch(stream);
    return {};
}

Status Applier::apply_tick(Stream& stream, std::int64_t append_ms) {
    stream.last_tick_ms = append_ms;
    stream.told_due_ms = INT64_MIN;  // the next one is told in any case
    for (auto* view : stream.views) {
        if (view->build || view->stopped()) continue;
        tick_view(*view->tumble, view->plan.tumble, stream.arrivals, stream.def->schema.idle_after_ms, append_ms);
        view->changed = view->touched = true;
    }
    touch(stream);
    return {};
}

Status Applier::apply_flush(View& view) {
    if (view.build) {
        return Error{Errc::building, "view " + view.name + " is being built; FLUSH it when it is live"};
    }
    if (view.stopped()) return Error{Errc::conflict, "view " + view.name + " has stopped: " + view.state};
    flush_view(*view.tumble, view.plan.tumble);
    view.changed = view.touched = true;
    touch(*streams_.at(view.stream));
    return {};
}

// What the leader should propose for the stream, where that has changed.
void Applier::tell_needs(Stream& stream) {
    if (!recovered_ || !outputs_.stream_needs) return;
    std::int64_t due_ms = INT64_MAX;
    bool keep = false;
    for (const auto* view : stream.views) {
        keep = keep || view->build;
        if (view->build || view->stopped()) continue;
        due_ms = std::min(
            due_ms, tick_due_ms(*view->tumble, view->plan.tumble, stream.arrivals, stream.def->schema.idle_after_ms));
    }
    if (due_ms != INT64_MAX && stream.last_tick_ms != INT64_MIN)
        due_ms = std::max(due_ms, stream.last_tick_ms + tick_every_ms);
    if (due_ms == stream.told_due_ms && keep == stream.told_keep) return;
    stream.told_due_ms = due_ms;
    stream.told_keep = keep;
    outputs_.stream_needs(stream.def->id, due_ms, keep);
}

Status Applier::apply_retain(const log::Retain& retain) {
    const auto it = streams_.find(retain.stream);
    if (it == streams_.end()) return {};
    Stream& stream = *it->second;
    if (retain.version < stream.def->version) return {};
    TRY(flush_logs());
    auto cut = [&](log::PartitionLog& log, PartitionNo p) {
        std::int64_t offset = log.offset_before(retain.appended_before_ms);
        if (retain.bytes_kept >= 0 && p != dead_letter_partition) {
            // Each partition keeps its share; whole segments only, the last one stays.
            const auto share = static_cast<std::uint64_t>(retain.bytes_kept) / stream.partitions.size();
            std::uint64_t bytes = log.bytes();
            const auto& segments = log.state().segments;
            for (std::size_t i = 0; i + 1 < segments.size() && bytes > share; i++) {
                bytes -= std::min(bytes, segments[i].log_bytes);
                offset = std::max(offset, segments[i + 1].base_offset);
            }
        }
        if (offset <= log.start_offset()) return;
        unlink_later(log.advance_start(offset), false);
        stream.touched_partitions.insert(p);
        drop_late_rows(stream, p, log.start_offset());
    };
    // A view that is being built reads on from where it is: the log waits for the entry "view live". Which views those
    // are the log says, so every replica keeps the same.
    const bool waits =
        std::any_of(stream.views.begin(), stream.views.end(), [](const View* view) { return view->build != nullptr; });
    if (!waits) {
        for (std::size_t p = 0; p < stream.partitions.size(); p++)
            cut(*stream.partitions[p], static_cast<PartitionNo>(p));
        cut(*stream.dead, dead_letter_partition);
        // The journal goes as far as every partition went.
        std::int64_t before_ms = retain.appended_before_ms;
        auto keep = [&before_ms](const log::PartitionLog& log) {
            const auto& segments = log.state().segments;
            if (!segments.empty()) before_ms = std::min(before_ms, segments.front().first_append_ms);
        };
        for (const auto& partition : stream.partitions)
            keep(*partition);
        keep(*stream.dead);
        unlink_later(stream.journal->advance_before(before_ms), false);
    }
    if (retain.dedup_bucket != INT64_MIN) {
        stream.expired_bucket = std::max(stream.expired_bucket, retain.dedup_bucket);
        std::vector<std::string> paths;
        std::erase_if(stream.runs, [&](const auto& run) {
            if (run->state().bucket > stream.expired_bucket) return false;
            paths.push_back(run->path());
            return true;
        });
        unlink_later(std::move(paths), false);
        for (auto bucket = stream.recent.begin();
             bucket != stream.recent.end() && bucket->first <= stream.expired_bucket;) {
            recent_ids_ -= bucket->second.size();
            bucket = stream.recent.erase(bucket);
        }
    }
    touch(stream);
    return {};
}

// Late rows go with their events.
void Applier::drop_late_rows(const Stream& stream, PartitionNo partition, std::int64_t start_offset) {
    if (partition == dead_letter_partition) return;
    for (const auto* view : stream.views) {
        std::erase_if(late_, [&](const auto& row) {
            return row.view == view && row.partition == partition && row.offset < start_offset;
        });
        if (!writes_rows()) continue;
        row_changes_.push_back([this, table = late_table(view->id), partition, start_offset]() -> Status {
            return database_->exec("DELETE FROM " + store::quote_name(table) + " WHERE partition = " +
                                   std::to_string(partition) + " AND \"offset\" < " + std::to_string(start_offset));
        });
    }
}

// Segments end often enough that RETAIN and MAX find whole ones to cut. From the definition alone: replicas must agree.
log::PartitionOptions Applier::partition_options(const record::Stream& stream) const {
    auto options = options_.partition;
    options.segment_ms = std::clamp<std::int64_t>(stream.retain_ms / 16, 1000, 86'400'000);
    if (stream.retain_bytes >= 0) {
        const auto share =
            static_cast<std::uint64_t>(stream.retain_bytes) / static_cast<std::uint64_t>(stream.schema.partitions);
        options.segment_bytes = std::min(options.segment_bytes, std::max<std::uint64_t>(share / 8, 64 * limits::kib));
    }
    return options;
}

log::JournalOptions Applier::journal_options(const record::Stream& stream) const {
    log::JournalOptions options;
    options.file_ms = std::clamp<std::int64_t>(stream.retain_ms / 16, 1000, 86'400'000);
    return options;
}

void Applier::unlink_later(std::vector<std::string> paths, bool tree) {
    const std::int64_t due_us = clock_.monotonic_us() + options_.unlink_after_us;
    for (auto& path : paths)
        unlinks_.push_back({due_us, applied_, std::move(path), tree});
}

Status Applier::flush_logs() {
    for (auto* stream : touched_) {
        for (auto& partition : stream->partitions)
            TRY(partition->flush());
        TRY(stream->dead->flush());
        TRY(stream->journal->flush());
    }
    held_.clear();
    held_strings_.clear();
    held_bytes_ = 0;
    return {};
}

Result<std::int64_t> Applier::settle(bool force) {
    const std::int64_t now_us = clock_.monotonic_us();
    if (!has_room()) return 100'000;
    if (!recovered_ && applied_ >= options_.last_at_start) {
        // Nobody sees the past: only now may admission, readers and doors begin.
        TRY(commit_rows(false));
        recovered_ = true;
        std::vector<StreamFacts> facts;
        for (const auto& [id, stream] : streams_)
            facts.push_back(facts_of(*stream, true));
        // Names first: a shard that is ready and knows no names would make undeclared streams of declared ones.
        publish_definitions();
        outputs_.recovered(std::move(facts));
        outputs_.applied(applied_);
        for (const auto& [id, stream] : streams_)
            tell_needs(*stream);
        last_checkpoint_us_ = last_rows_us_ = now_us;
        // A long replay must not be repeated by the next crash.
        if (applied_.value > checkpointed_.value + replay_entries_max) checkpoint_wanted_ = true;
    }
    if (recovered_ && builds_ > 0) TRY(run_builds());
    if (unsettled_ && (force || !answers_.empty() || late_bytes_ >= late_bytes_max ||
                       now_us - last_rows_us_ >= options_.rows_every_us)) {
        const std::int64_t before_us = clock_.monotonic_us();
        TRY(commit_rows(false));
        // A slow disk gets fewer, larger commits: at most a third of the time goes to them.
        const std::int64_t took_us = clock_.monotonic_us() - before_us;
        last_rows_us_ = before_us + took_us + std::max<std::int64_t>(0, took_us * 2 - options_.rows_every_us);
    }
    if (recovered_ && !checkpoint_running_ && checkpointed_ < applied_) {
        std::uint64_t dirty_bytes = 0;
        for (const auto& [id, view] : views_)
            dirty_bytes += view->tumble ? view->tumble->dirty_bytes() : 0;
        const std::uint64_t ids_max = std::max(recent_ids_min, options_.dedup_memory / recent_id_bytes);
        if (checkpoint_wanted_ || recent_ids_ >= ids_max || dirty_bytes >= options_.checkpoint_dirty_bytes ||
            now_us - last_checkpoint_us_ >= options_.checkpoint_every_us) {
            TRY(begin_checkpoint());
        }
    }
    if (readers_held_ && TRY(database_->checkpoint_truncate())) {
        readers_held_ = false;
        outputs_.hold_readers(false);
    }
    while (!unlinks_.empty() && unlinks_.front().due_us <= now_us && unlinks_.front().after <= checkpointed_) {
        // A file that is left over is removed at the next start: it is in no checkpoint.
        const auto gone =
            unlinks_.front().tree ? disk_.remove_tree(unlinks_.front().path) : disk_.remove(unlinks_.front().path);
        if (!gone && gone.error().code != Errc::not_found) {
            obs::log(obs::Level::warning, "unlink_failed",
                     {{"path", unlinks_.front().path}, {"error", gone.error().detail}});
        }
        unlinks_.pop_front();
    }
    if (readers_held_) return 5'000;
    if (recovered_ && builds_ > 0) return std::max<std::int64_t>(0, next_build_us_ - clock_.monotonic_us());
    if (unsettled_) return std::max<std::int64_t>(1000, last_rows_us_ + options_.rows_every_us - now_us);
    if (checkpointed_ < applied_)
        return std::max<std::int64_t>(1000, last_checkpoint_us_ + options_.checkpoint_every_us - now_us);
    return 1'000'000;
}

Status Applier::begin_checkpoint() {
    CHECK(!checkpoint_running_);
    checkpoint_wanted_ = false;
    checkpoint_running_ = true;
    last_checkpoint_us_ = clock_.monotonic_us();
    outputs_.checkpoint_began();
    // SQLite first: durable at this index, whatever its readers do.
    TRY(commit_rows(true));

    CheckpointJob job;
    job.applied = {applied_, applied_term_, last_append_ms_, store::Database::engine_version(), after_gap_ms_};
    job.run_bytes_max = dedup::run_memory(options_.dedup_memory).bytes_max;
    const std::size_t kept_bytes = kept_run_bytes();
    for (auto& [id, stream] : streams_) {
        for (const auto& run : stream->runs)
            job.run_bytes_held += run->memory_bytes();
        if (!stream->changed) continue;
        stream->changed = false;
        auto take = [&](std::vector<std::shared_ptr<os::File>> files) {
            for (auto& file : files)
                job.files.push_back(std::move(file));
        };
        for (std::size_t p = 0; p < stream->partitions.size(); p++) {
            auto files = stream->partitions[p]->take_dirty_files();
            if (!files.empty()) job.dirs.push_back(partition_dir(options_.dir, id, static_cast<PartitionNo>(p)));
            take(std::move(files));
        }
        auto dead = stream->dead->take_dirty_files();
        if (!dead.empty()) job.dirs.push_back(partition_dir(options_.dir, id, dead_letter_partition));
        take(std::move(dead));
        auto journal = stream->journal->take_dirty_files();
        if (!journal.empty()) job.dirs.push_back(stream->dir + "/journal");
        take(std::move(journal));
        job.dirs.push_back(stream->dir);

        StreamRuns runs;
        runs.id = id;
        runs.dir = stream->dir + "/dedup";
        runs.runs = stream->runs;
        runs.record = record_of(*stream);
        runs.kept_bytes = kept_bytes;
        for (auto& [bucket, ids] : stream->recent) {
            recent_ids_ -= ids.size();
            runs.fresh.push_back({bucket, std::move(ids)});
        }
        stream->recent.clear();
        stream->checkpoint_within_ms = stream->def->schema.dedup_within_ms;
        job.streams.push_back(std::move(runs));
    }
    job.dirs.push_back(options_.dir + "/streams");
    for (auto& [id, view] : views_) {
        if (!view->changed) continue;
        view->changed = false;
        if (view->tumble) view->tumble->collect_checkpoint(job.changes);
        job.changes.push_back(
            {object_key('v', id), ViewRecord{view->stream, view->name, view->statement, view->created_at_ms,
                                             view->state, view->build ? view->build->cursor() : LogIndex(0)}
                                      .encode()});
    }
    for (const auto& id : catalog_changed_) {
        if (auto it = catalog_.find(id); it != catalog_.end())
            job.changes.push_back({object_key('c', id), it->second.encode()});
    }
    catalog_changed_.clear();
    for (const auto& id : dropped_views_) {
        TRY(state_.scan(object_key('o', id), [&job](std::string_view key, std::string_view) {
            job.changes.push_back({std::string(key), std::nullopt});
            return true;
        }));
    }
    dropped_views_.clear();
    for (auto& change : removed_)
        job.changes.push_back(std::move(change));
    removed_.clear();
    outputs_.run_checkpoint(std::move(job));
    return {};
}

// What admission lets a stream's runs keep, as it reckons too.
std::size_t Applier::kept_run_bytes() const {
    std::vector<std::size_t> wants;
    for (const auto& [id, stream] : streams_) {
        if (stream->def->schema.dedup_key.empty()) continue;
        std::size_t bytes = 0;
        auto add = [&bytes](std::uint64_t ids) { bytes += dedup::fences_bytes(ids) + dedup::filter_bytes(ids); };
        for (const auto& run : stream->runs)
            add(run->state().count);
        for (const auto& [bucket, ids] : stream->recent)
            add(ids.size());
        wants.push_back(bytes);
    }
    return dedup::run_memory_level(dedup::run_memory(options_.dedup_memory).kept_bytes, std::move(wants));
}

void Applier::checkpoint_done(CheckpointDone&& done) {
    CHECK(checkpoint_running_);
    checkpoint_running_ = false;
    checkpointed_ = done.applied.index;
    counters_.checkpoints.fetch_add(1, std::memory_order_relaxed);
    counters_.checkpoint_index = checkpointed_.value;
    counters_.checkpoint_us.fetch_add(static_cast<std::uint64_t>(clock_.monotonic_us() - last_checkpoint_us_),
                                      std::memory_order_relaxed);
    for (auto& [id, view] : views_) {
        if (view->tumble) view->tumble->checkpoint_done();
    }
    unlink_later(std::move(done.replaced_runs), false);
    for (auto& result : done.streams) {
        const auto it = streams_.find(result.id);
        if (it == streams_.end()) continue;  // dropped meanwhile; its folder goes as a whole
        Stream& stream = *it->second;
        stream.next_run = std::max(stream.next_run, result.next_run);
        stream.runs = std::move(result.runs);
        rebucket(stream.runs, stream.checkpoint_within_ms, stream.def->schema.dedup_within_ms);
        // A bucket that expired while the checkpoint ran.
        std::vector<std::string> expired;
        std::erase_if(stream.runs, [&](const auto& run) {
            if (run->state().bucket > stream.expired_bucket) return false;
            expired.push_back(run->path());
            return true;
        });
        if (!expired.empty()) stream.changed = true;
        unlink_later(std::move(expired), false);
        outputs_.runs_adopted(facts_of(stream, false), done.applied.index);
    }
    outputs_.checkpointed(done.applied.index, done.applied.term);
    const auto wal = database_->checkpoint_passive();
    if (!wal) obs::log(obs::Level::warning, "sqlite_checkpoint", {{"error", wal.error().detail}});
    if (wal && wal.value() > options_.sqlite_log_bytes_max && !readers_held_) {
        // Readers that overlap without end keep SQLite's log from being reset: new ones wait until the present ones are
        // done.
        readers_held_ = true;
        outputs_.hold_readers(true);
    }
}

StreamFacts Applier::facts_of(const Stream& stream, bool with_recent) const {
    StreamFacts facts;
    facts.stream = stream.def;
    bool can_cut = false;
    for (const auto& partition : stream.partitions) {
        facts.end_offsets.push_back(partition->end_offset());
        facts.bytes += static_cast<std::int64_t>(partition->bytes());
        const auto& segments = partition->state().segments;
        if (!segments.empty())
            facts.oldest_append_ms = std::min(facts.oldest_append_ms, segments.front().last_append_ms);
        can_cut = can_cut || segments.size() > 1;
    }
    // MAX keeps the last segment: without another there is nothing to ask for.
    if (!can_cut) facts.bytes = 0;
    facts.dead_end_offset = stream.dead->end_offset();
    const auto& dead = stream.dead->state().segments;
    if (!dead.empty()) facts.oldest_append_ms = std::min(facts.oldest_append_ms, dead.front().last_append_ms);
    facts.runs = stream.runs;
    for (const auto& run : stream.runs)
        facts.oldest_bucket = std::min(facts.oldest_bucket, run->state().bucket);
    facts.recent_index = applied_;
    if (with_recent) {
        for (const auto& [bucket, ids] : stream.recent)
            facts.recent.insert(facts.recent.end(), ids.begin(), ids.end());
    }
    return facts;
}

StreamRecord Applier::record_of(const Stream& stream) const {
    StreamRecord record;
    record.version = stream.def->version;
    record.name = stream.def->name;
    record.statement = stream.def->statement;
    record.created_at_ms = stream.def->created_at_ms;
    for (const auto& partition : stream.partitions)
        record.partitions.push_back(partition->state());
    record.dead = stream.dead->state();
    record.journal = stream.journal->state();
    record.counters = stream.counters;
    record.next_run = stream.next_run;
    record.expired_bucket = stream.expired_bucket;
    record.first_arrival_ms = stream.arrivals.first_ms;
    record.last_arrival_ms = stream.arrivals.last_ms;
    record.last_tick_ms = stream.last_tick_ms;
    return record;
}

}  // namespace weir::apply
