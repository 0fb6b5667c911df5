#include "replica/admission.h"

#include "base/check.h"
#include "base/limits.h"
#include "obs/log.h"

#include <algorithm>
#include <utility>

namespace weir::replica {
namespace {

// With one entry being flushed a second is worth proposing only when it is large: small ones ride along in the next.
constexpr std::size_t second_in_flight_bytes = 256 * limits::kib;
constexpr std::uint64_t in_flight_max = 2;
constexpr std::int64_t counts_wait_us = 1'000'000;
constexpr std::int64_t expiry_every_us = 10'000'000;
constexpr std::int64_t share_every_us = 500'000;
constexpr std::size_t look_up_block = 256;
// What an id costs from its admission until a run holds it: its slots in the tables, half empty at worst. Twice as many
// as the checkpoint waits for (apply), so that one can be written while the next collects.
constexpr std::size_t table_bytes_an_id = 128;

// Ids that a request may bring; which of them are new is not known yet.
std::size_t ids_of(const IngestRequest& request) {
    const bool has_ids = !request.stream->schema.dedup_key.empty() && request.events != nullptr;
    return (has_ids ? request.events->raw.size() : 0) + (request.key ? 1 : 0);
}

std::size_t columns_bytes(const record::DecodedEvents& events) {
    std::size_t bytes = events.columns.bytes.size() + events.raw.size() * 48;
    for (const auto& column : events.columns.columns) {
        bytes += column.present.size() + column.number.size() * 8 + column.slice.size() * sizeof(record::Slice);
    }
    return bytes;
}

// The answers to requests with a key as they are before there was one.
StreamAdmission no_answers(ShardId shard) {
    auto stream = std::make_shared<record::Stream>();
    stream->id = log::answers_stream(shard);
    stream->name = "answers";
    stream->schema.columns.resize(1);
    stream->schema.dedup_key = {0};
    stream->schema.dedup_within_ms = log::answers_within_ms;
    stream->schema.partitions = 1;
    stream->retain_ms = log::answers_retain_ms;
    StreamAdmission admission;
    admission.stream = std::move(stream);
    admission.end_offsets = {0};
    return admission;
}

}  // namespace

// A partition's records in the pending entry.
struct Admission::PartitionTail {
    std::int64_t next_offset = 0;  // of the next record, what is in flight counted
    record::BatchBuilder builder;
    std::vector<record::Fingerprint> fingerprints;
    std::vector<log::CarriedRows> carried;
};

struct Admission::StreamState {
    record::StreamPtr stream;
    std::vector<PartitionTail> partitions;
    PartitionTail dead;
    std::unique_ptr<dedup::Index> index;       // null: no DEDUP
    std::int32_t next_partition = 0;           // for streams with neither BY nor DEDUP KEY
    std::uint64_t duplicate = 0, refused = 0;  // since the last entry that told
    std::uint32_t version = UINT32_MAX;        // the oldest one that what is pending was validated under
    LogIndex bucket_begun;                     // the entry for which the index knows the bucket
    bool touched = false;
    bool batch_partition_chosen = false;  // in the pending entry
    std::int64_t oldest_append_ms = INT64_MAX, oldest_bucket = INT64_MAX;
    std::int64_t asked_before_ms = INT64_MIN, asked_bucket = INT64_MIN;  // what a Retain entry in flight already says
    std::int64_t bytes = 0;
    bool bytes_asked = false;
    std::int64_t tick_due_ms = INT64_MAX;
    bool keep_log = false;
};

struct Admission::Pending {
    std::int64_t append_ms = 0;
    std::vector<Waiter> waiters;
    std::vector<std::string> control_sections;
    std::vector<log::ControlDone> controls;
    std::size_t bytes = 0;  // estimate
    std::size_t carried_bytes = 0;
    bool closed = false;  // nothing more may join (a catalog entry)
};

Admission::Admission(AdmissionOptions options, Clock& clock, Outputs outputs)
    : options_(options), raw_clock_(clock), clock_(clock), outputs_(std::move(outputs)) {}

Admission::~Admission() = default;

Admission::StreamState* Admission::find(ObjectId id) {
    const auto it = streams_.find(id);
    return it == streams_.end() ? nullptr : it->second.get();
}

void Admission::define(StreamAdmission&& admission) {
    auto state = std::make_unique<StreamState>();
    state->stream = admission.stream;
    const auto& schema = admission.stream->schema;
    CHECK(admission.end_offsets.size() == static_cast<std::size_t>(schema.partitions));
    state->partitions.resize(admission.end_offsets.size());
    for (std::size_t i = 0; i < admission.end_offsets.size(); i++) {
        state->partitions[i].next_offset = admission.end_offsets[i];
    }
    state->dead.next_offset = admission.dead_end_offset;
    state->oldest_append_ms = admission.oldest_append_ms;
    state->oldest_bucket = admission.oldest_bucket;
    if (!schema.dedup_key.empty()) {
        state->index = std::make_unique<dedup::Index>(schema.dedup_within_ms);
        state->index->adopt(std::move(admission.runs), LogIndex(0));
        for (const auto& entry : admission.recent) {
            dedup::Index::Found found;
            // A replayed id is there once: the log holds each id once within its window.
            (void)state->index->insert_if_new(entry.id, entry.place, admission.recent_index, found);
        }
    }
    streams_[admission.stream->id] = std::move(state);
    next_share_us_ = 0;
}

void Admission::alter(StreamState& state, StreamAdmission&& altered) {
    const std::int64_t from_ms = state.stream->schema.dedup_within_ms;
    const std::int64_t to_ms = altered.stream->schema.dedup_within_ms;
    if (state.index && from_ms != to_ms) state.index->change_within(from_ms, to_ms);
    state.stream = std::move(altered.stream);
    state.bucket_begun = LogIndex(0);
    state.oldest_append_ms = altered.oldest_append_ms;
    state.oldest_bucket = altered.oldest_bucket;
    // What was asked under the definition before has no effect where it comes behind this one.
    state.asked_before_ms = state.asked_bucket = INT64_MIN;
    state.bytes_asked = false;
    next_expiry_us_ = 0;
}

void Admission::on_message(AdmissionMessage&& any) {
    struct Visitor {
        Admission& self;
        void operator()(IngestRequest&& m) const { self.requests_.push_back(std::move(m)); }
        void operator()(message::Control&& m) const { self.controls_.push_back(std::move(m)); }
        void operator()(message::Leading&& m) const {
            self.leading_ = true;
            self.next_index_ = m.next_index;
            self.term_ = m.term;
            self.committed_ = std::max(self.committed_, m.committed);
        }
        void operator()(message::Recovered&& m) const {
            self.define(no_answers(self.options_.shard));
            for (auto& stream : m.streams)
                self.define(std::move(stream));
            self.clock_.begin(m.last_append_ms, m.after_gap_ms);
            self.recovered_ = true;
        }
        void operator()(message::StreamDefined&& m) const { self.define(std::move(m.stream)); }
        void operator()(message::StreamAltered&& m) const {
            if (auto* state = self.find(m.stream.stream->id)) self.alter(*state, std::move(m.stream));
        }
        void operator()(message::StreamDropped&& m) const {
            const auto it = self.streams_.find(m.id);
            if (it == self.streams_.end()) return;
            std::erase(self.touched_, it->second.get());
            self.streams_.erase(it);
        }
        void operator()(message::CommittedUpTo&& m) const { self.committed_ = std::max(self.committed_, m.index); }
        void operator()(message::AppliedUpTo&& m) const {
            self.applied_ = std::max(self.applied_, m.index);
            while (!self.unapplied_.empty() && self.unapplied_.front().first <= self.applied_) {
                self.unapplied_bytes_ -= self.unapplied_.front().second;
                self.unapplied_.pop_front();
            }
        }
        void operator()(message::RunsAdopted&& m) const {
            while (!self.unsealed_ids_.empty() && self.unsealed_ids_.front().first <= m.covered) {
                self.unsealed_id_count_ -= self.unsealed_ids_.front().second;
                self.unsealed_ids_.pop_front();
            }
            auto* state = self.find(m.stream);
            if (state == nullptr) return;
            if (state->index) state->index->adopt(std::move(m.runs), m.covered);
            state->oldest_append_ms = m.oldest_append_ms;
            state->oldest_bucket = m.oldest_bucket;
            state->bytes = m.bytes;
            state->bytes_asked = false;
            self.next_share_us_ = 0;
        }
        void operator()(message::StreamNeeds&& m) const {
            auto* state = self.find(m.stream);
            if (state == nullptr) return;
            state->tick_due_ms = m.tick_due_ms;
            self.next_tick_ms_ = std::min(self.next_tick_ms_, m.tick_due_ms);
            if (state->keep_log && !m.keep_log) {
                // What was asked meanwhile had no effect.
                state->asked_before_ms = INT64_MIN;
                state->bytes_asked = false;
            }
            state->keep_log = m.keep_log;
        }
        void operator()(message::CheckpointBegan&&) const {
            for (auto& [id, state] : self.streams_) {
                if (state->index) state->index->begin_generation();
            }
        }
        void operator()(message::DiskState&& m) const { self.disk_full_ = m.full; }
        void operator()(message::Stop&&) const { self.stopping_ = true; }
    };
    std::visit(Visitor{*this}, std::move(any));
}

void Admission::refuse(IngestRequest&& request, Errc code, std::string detail) {
    IngestOutcome outcome;
    outcome.shard = options_.shard;
    outcome.status = Error{code, std::move(detail)};
    counters_.busy.fetch_add(1, std::memory_order_relaxed);
    request.done(std::move(outcome));
}

std::int64_t Admission::step() {
    const bool was_ready = ready_.load(std::memory_order_relaxed);
    ready_ = leading_ && recovered_ && !stopping_;
    if (!was_ready && ready_)
        obs::log(obs::Level::info, "shard_ready", {{"shard", std::to_string(options_.shard.value)}});
    const std::int64_t now_us = raw_clock_.monotonic_us();

    if (stopping_ || disk_full_) {
        for (; !requests_.empty(); requests_.pop_front()) {
            if (stopping_) {
                refuse(std::move(requests_.front()), Errc::shutting_down,
                       "the server is stopping; nothing was stored: send again later");
            } else {
                refuse(std::move(requests_.front()), Errc::disk_full,
                       "the disk is full; nothing was stored: free space, then send again");
            }
        }
    }
    if (!leading_ || !recovered_) return 100'000;

    if (!stopping_ && now_us >= next_expiry_us_) {
        next_expiry_us_ = now_us + expiry_every_us;
        expire();
    }
    if (!stopping_ && next_tick_ms_ != INT64_MAX) tick();
    while (!controls_.empty() && !(pending_ && pending_->closed)) {
        if (controls_.front().alone && pending_) break;  // goes into an entry of its own, after this one
        add_control(std::move(controls_.front()));
        controls_.pop_front();
    }
    for (;;) {
        // Beyond the dedup memory ingest slows down to what checkpoints take away; nothing is forgotten for it.
        while (!requests_.empty() && unapplied_bytes_ <= options_.apply_lag_bytes &&
               (unsealed_id_count_ + pending_ids_ + ids_of(requests_.front()) <= ids_max() ||
                ids_of(requests_.front()) > request_ids_max()) &&
               !(pending_ && (pending_->closed || pending_->bytes >= limits::entry_bytes_target))) {
            auto request = std::move(requests_.front());
            requests_.pop_front();
            admit(std::move(request));
        }
        if (counts_since_us_ >= 0 && !pending_ && (stopping_ || now_us - counts_since_us_ >= counts_wait_us))
            open_pending();
        if (!pending_ || !may_propose()) break;
        seal_and_propose();
        if (!controls_.empty() && !pending_) {
            add_control(std::move(controls_.front()));
            controls_.pop_front();
        }
    }
    if (now_us >= next_share_us_) {
        next_share_us_ = now_us + share_every_us;
        share_dedup_memory();
    }
    idle_ = !pending_ && counts_since_us_ < 0 && requests_.empty() && controls_.empty() &&
            next_index_.value == committed_.value + 1;
    std::int64_t wait_us = counts_since_us_ >= 0 ? 200'000 : 1'000'000;
    if (next_tick_ms_ != INT64_MAX && !pending_)  // what is pending goes with the next commit, and a tick after it
        wait_us = std::clamp<std::int64_t>(std::min<std::int64_t>(next_tick_ms_ - clock_.published_ms(), 1'000) * 1000,
                                           1'000, wait_us);
    return wait_us;
}

void Admission::open_pending() {
    if (pending_) return;
    pending_ = std::make_unique<Pending>();
    pending_->append_ms = clock_.now_ms();
}

// The ids that the pending entry will bring belong to the bucket of its append time.
void Admission::begin_bucket(StreamState& state) {
    if (!state.index || state.bucket_begun == next_index_) return;
    state.bucket_begun = next_index_;
    const std::int64_t append_ms = pending_ ? pending_->append_ms : clock_.now_ms();
    state.index->begin_bucket(dedup::bucket_of(append_ms, state.stream->schema.dedup_within_ms), next_index_);
}

bool Admission::may_propose() const {
    const std::uint64_t in_flight = next_index_.value - 1 - committed_.value;
    if (in_flight == 0) return true;
    return in_flight < in_flight_max && (pending_->bytes >= second_in_flight_bytes || pending_->closed);
}

void Admission::add_control(message::Control&& control) {
    open_pending();
    pending_->bytes += control.section.size();
    pending_->control_sections.push_back(std::move(control.section));
    pending_->controls.push_back(std::move(control.applied));
    if (control.alone) pending_->closed = true;
}

std::size_t Admission::ids_max() const {
    return options_.dedup_memory / table_bytes_an_id;
}

// A checkpoint begins when half of ids_max() are there, so whoever waits for room gets it.
std::size_t Admission::request_ids_max() const {
    return ids_max() / 2;
}

void Admission::admit(IngestRequest&& request) {
    auto* state = find(request.stream->id);
    if (state == nullptr) {
        refuse(std::move(request), Errc::not_found,
               "stream " + request.stream->name + " was dropped; nothing was stored");
        return;
    }
    if (const std::size_t ids = ids_of(request); ids > request_ids_max()) {
        refuse(std::move(request), Errc::too_large,
               std::to_string(ids) +
                   " events with an id in one request are more than limits.dedup_memory of this server "
                   "takes at once (" +
                   std::to_string(request_ids_max()) + "); nothing was stored: send fewer a request");
        return;
    }
    if (request.key && was_answered(request)) return;
    Waiter waiter;
    waiter.outcome.shard = options_.shard;
    LogIndex wait_on;  // 0: nothing to wait for
    admit_events(*state, request, waiter.outcome, wait_on);
    waiter.done = std::move(request.done);
    if (request.key) {
        // Its own record makes the entry that it waits for, whatever became of its events.
        open_pending();
        wait_on = next_index_;
        waiter.outcome.applied_index = next_index_;
        keep_answer(*request.key, waiter.outcome);
    }

    const bool stored = waiter.outcome.accepted > 0 ||
                        (waiter.outcome.rejected > 0 && state->stream->schema.on_error == record::OnError::dead_letter);
    if ((state->duplicate > 0 || state->refused > 0) && counts_since_us_ < 0)
        counts_since_us_ = raw_clock_.monotonic_us();
    if (stored || (pending_ && wait_on == next_index_)) {
        waiter.outcome.applied_index = next_index_;
        pending_->waiters.push_back(std::move(waiter));
    } else if (wait_on > committed_) {
        // Only duplicates, and the first of one of them is still in flight: its fate is theirs.
        waiter.outcome.applied_index = wait_on;
        outputs_.wait_on(wait_on, std::move(waiter));
    } else {
        waiter.outcome.applied_index = committed_;
        waiter.done(std::move(waiter.outcome));
    }
}

void Admission::admit_events(StreamState& state, IngestRequest& request, IngestOutcome& outcome, LogIndex& wait_on) {
    std::shared_ptr<const record::DecodedEvents> events = std::move(request.events);
    request.events = nullptr;
    const std::size_t rows = events->raw.size();
    const std::string_view body = request.body;
    // As validated: by the definition of now or, where an ALTER came meanwhile, by the one before. Both know the
    // stream's keys and partitions alike, and the sender has not been told of the later one.
    const auto& schema = request.stream->schema;
    state.version = std::min(state.version, request.stream->version);

    std::vector<std::vector<std::uint32_t>> chosen(state.partitions.size());  // rows by partition
    std::vector<std::int64_t> first_offset(state.partitions.size());
    for (std::size_t p = 0; p < state.partitions.size(); p++)
        first_offset[p] = state.partitions[p].next_offset;

    std::vector<record::Fingerprint> ids;
    std::vector<dedup::Index::Found> found;
    bool batch_partition_used = false;
    for (std::size_t begin = 0; begin < rows; begin += look_up_block) {
        const std::size_t end = std::min(rows, begin + look_up_block);
        if (state.index) {
            ids.assign(events->fingerprint.begin() + static_cast<std::ptrdiff_t>(begin),
                       events->fingerprint.begin() + static_cast<std::ptrdiff_t>(end));
            const auto status = state.index->look_up(ids, found);
            if (!status) {
                // A run that cannot be read must not let duplicates in, and must not lose events: the process ends.
                outputs_.fatal(status.error());
            }
        }
        for (std::size_t row = begin; row < end; row++) {
            const auto r = static_cast<std::uint32_t>(row);
            auto partition = events->partition[row];
            if (partition < 0) {
                partition = state.next_partition;
                batch_partition_used = true;
            }
            CHECK(static_cast<std::size_t>(partition) < state.partitions.size());
            auto& tail = state.partitions[static_cast<std::size_t>(partition)];
            const auto& id = events->fingerprint[row];
            if (state.index && id.has_key()) {
                dedup::Index::Found hit = found[row - begin];
                bool duplicate = hit.duplicate;
                if (!duplicate) {
                    // Where it is one after all, the first of it came in this block: the entry is open already.
                    open_pending();
                    begin_bucket(state);
                    duplicate = !state.index->insert_if_new(id, dedup::Place::of(partition, tail.next_offset),
                                                            next_index_, hit);
                }
                if (duplicate) {
                    outcome.duplicates++;
                    wait_on = std::max(wait_on, hit.in_flight);
                    if (outcome.duplicate_of.size() < limits::answer_list_max) {
                        outcome.duplicate_of.push_back({events->index[row], hit.place.partition(), hit.place.offset()});
                    } else {
                        outcome.duplicate_of_truncated = true;
                    }
                    continue;
                }
            }
            open_pending();
            std::int64_t time_ms = events->columns.event_time_ms[row];
            if (time_ms == record::event_time_is_append_time) time_ms = pending_->append_ms;
            const auto raw = events->raw[row];
            const auto key = events->key[row];
            std::optional<std::string_view> key_text;
            if (key.size > 0) key_text = std::string_view(events->columns.bytes).substr(key.offset, key.size);
            tail.builder.add(time_ms, key_text, body.substr(raw.offset, raw.size));
            if (state.index) {
                tail.fingerprints.push_back(id);
                pending_ids_ += id.has_key() ? 1 : 0;
            }
            chosen[static_cast<std::size_t>(partition)].push_back(r);
            tail.next_offset++;
        }
    }
    if (batch_partition_used) state.batch_partition_chosen = true;

    for (std::size_t p = 0; p < chosen.size(); p++) {
        if (chosen[p].empty()) continue;
        const auto count = static_cast<std::uint32_t>(chosen[p].size());
        outcome.accepted += count;
        outcome.partitions.push_back({static_cast<PartitionNo>(p), first_offset[p], count});
        state.partitions[p].carried.push_back({events, std::move(chosen[p])});
    }
    if (outcome.accepted > 0) {
        if (!state.touched) {
            state.touched = true;
            touched_.push_back(&state);
        }
        const std::size_t carried = columns_bytes(*events);
        pending_->carried_bytes += carried;
        pending_->bytes += body.size() + std::size_t{outcome.accepted} * 40;
    }
    counters_.accepted.fetch_add(outcome.accepted, std::memory_order_relaxed);
    counters_.duplicates.fetch_add(outcome.duplicates, std::memory_order_relaxed);
    state.duplicate += outcome.duplicates;

    // The rejected of the request are read after this: hand them back.
    outcome.rejected = static_cast<std::uint32_t>(events->rejected.size());
    for (const auto& rejection : events->rejected) {
        if (outcome.errors.size() >= limits::answer_list_max) {
            outcome.errors_truncated = true;
            break;
        }
        outcome.errors.push_back({rejection.index, rejection.reason, rejection.message});
    }
    if (outcome.rejected == 0) return;
    if (schema.on_error == record::OnError::reject) {
        state.refused += outcome.rejected;
        counters_.refused.fetch_add(outcome.rejected, std::memory_order_relaxed);
        return;
    }
    open_pending();
    for (const auto& rejection : events->rejected) {
        const std::string_view column =
            rejection.column >= 0 ? std::string_view(schema.columns[static_cast<std::size_t>(rejection.column)].name)
                                  : std::string_view();
        const record::Header headers[] = {
            {"reason", record::reject_name(rejection.reason)},
            {"column", column},
            {"message", rejection.message},
            {"content_type", request.content_type},
        };
        state.dead.builder.add(pending_->append_ms, std::nullopt, body.substr(rejection.raw.offset, rejection.raw.size),
                               headers);
        state.dead.next_offset++;
        pending_->bytes += rejection.raw.size + rejection.message.size() + 128;
    }
    counters_.dead_lettered.fetch_add(outcome.rejected, std::memory_order_relaxed);
    if (!state.touched) {
        state.touched = true;
        touched_.push_back(&state);
    }
}

// A request with a key is answered once. True: this one has been told where the answer of the first one is.
bool Admission::was_answered(IngestRequest& request) {
    auto* answers = find(log::answers_stream(options_.shard));
    CHECK(answers != nullptr && answers->index != nullptr);
    std::vector<dedup::Index::Found> found;
    const auto looked = answers->index->look_up({request.key->id}, found);
    if (!looked) outputs_.fatal(looked.error());
    if (!found[0].duplicate) return false;
    IngestOutcome outcome;
    outcome.shard = options_.shard;
    outcome.in_progress = found[0].in_flight > committed_;
    if (!outcome.in_progress) outcome.answered_at = found[0].place.offset();
    outcome.applied_index = found[0].in_flight;
    counters_.answered_again.fetch_add(1, std::memory_order_relaxed);
    request.done(std::move(outcome));
    return true;
}

void Admission::keep_answer(const RequestKey& key, const IngestOutcome& outcome) {
    StreamState& answers = *find(log::answers_stream(options_.shard));
    PartitionTail& tail = answers.partitions[0];
    begin_bucket(answers);
    dedup::Index::Found found;
    const bool is_new = answers.index->insert_if_new(key.id, dedup::Place::of(0, tail.next_offset), next_index_, found);
    CHECK(is_new);  // was_answered() has looked, and nothing came between
    const std::string answer = key.answer(outcome);
    tail.builder.add(pending_->append_ms, std::nullopt, answer);
    tail.fingerprints.push_back(key.id);
    tail.next_offset++;
    pending_ids_++;
    pending_->bytes += answer.size() + 64;
    if (!answers.touched) {
        answers.touched = true;
        touched_.push_back(&answers);
    }
}

void Admission::seal_and_propose() {
    CHECK(pending_ != nullptr);
    auto buffer = std::make_shared<log::EntryBuffer>();
    buffer->append_time_ms = pending_->append_ms;
    buffer->carried_bytes = pending_->carried_bytes;
    buffer->owned.emplace_back();  // the entry's head, when the sections are counted

    auto add_section = [&](std::string bytes) {
        log::EntryBuffer::Part part;
        part.head = static_cast<std::uint32_t>(buffer->owned.size());
        buffer->owned.push_back(std::move(bytes));
        buffer->parts.push_back(std::move(part));
    };
    auto add_batch = [&](StreamState& state, PartitionNo partition, PartitionTail& tail) {
        if (tail.builder.empty()) return;
        log::BatchSection section;
        section.stream = state.stream->id;
        section.version = std::min(state.version, state.stream->version);
        section.partition = partition;
        section.count = static_cast<std::uint32_t>(tail.builder.count());
        section.base_offset = tail.next_offset - tail.builder.count();
        section.min_time_ms = tail.builder.min_timestamp_ms();
        section.max_time_ms = tail.builder.max_timestamp_ms();
        section.fingerprints = std::move(tail.fingerprints);
        section.batch = tail.builder.finish(section.base_offset, static_cast<std::int32_t>(term_.value & 0x7fffffff));
        log::EntryBuffer::Part part;
        part.is_batch = true;
        part.head = static_cast<std::uint32_t>(buffer->owned.size());
        buffer->owned.push_back(log::encode_batch_head(section));
        part.batch = static_cast<std::uint32_t>(buffer->owned.size());
        buffer->owned.push_back(tail.builder.take());
        part.carried = std::move(tail.carried);
        buffer->parts.push_back(std::move(part));
        tail.fingerprints.clear();
        tail.carried.clear();
        tail.builder.reset();
    };

    for (auto& section : pending_->control_sections)
        add_section(std::move(section));
    for (auto* state : touched_) {
        for (std::size_t p = 0; p < state->partitions.size(); p++) {
            add_batch(*state, static_cast<PartitionNo>(p), state->partitions[p]);
        }
        add_batch(*state, dead_letter_partition, state->dead);
        state->touched = false;
        state->version = UINT32_MAX;
        if (state->batch_partition_chosen) {
            state->batch_partition_chosen = false;
            state->next_partition = (state->next_partition + 1) % state->stream->schema.partitions;
        }
    }
    touched_.clear();
    if (counts_since_us_ >= 0) {
        for (auto& [id, state] : streams_) {
            if (state->duplicate == 0 && state->refused == 0) continue;
            add_section(log::encode_section(log::CountsSection{id, state->duplicate, state->refused}));
            state->duplicate = state->refused = 0;
        }
        counts_since_us_ = -1;
    }
    buffer->owned[0] = log::encode_entry_head(buffer->append_time_ms, static_cast<std::uint32_t>(buffer->parts.size()));
    for (const auto& piece : buffer->owned)
        buffer->bytes += piece.size();
    CHECK(buffer->bytes <= UINT32_MAX);

    counters_.entries.fetch_add(1, std::memory_order_relaxed);
    counters_.entry_bytes.fetch_add(buffer->bytes, std::memory_order_relaxed);
    unapplied_.emplace_back(next_index_, buffer->bytes);
    unapplied_bytes_ += buffer->bytes;
    if (pending_ids_ > 0) {
        unsealed_ids_.emplace_back(next_index_, pending_ids_);
        unsealed_id_count_ += pending_ids_;
        pending_ids_ = 0;
    }

    Proposal proposal;
    proposal.index = next_index_;
    proposal.buffer = std::move(buffer);
    proposal.waiters = std::move(pending_->waiters);
    proposal.controls = std::move(pending_->controls);
    pending_.reset();
    next_index_ = LogIndex(next_index_.value + 1);
    outputs_.propose(std::move(proposal));
}

void Admission::expire() {
    const std::int64_t clock_ms = clock_.now_ms();  // also what ends the pause on a quiet node
    // What expires joins the pending entry where there is one, so that entry's append time decides, which may be older:
    // else an event of the same entry could be stored again within WITHIN.
    const std::int64_t now_ms = pending_ ? pending_->append_ms : clock_ms;
    const bool paused = clock_.expiry_paused();
    if (paused != expiry_paused_) {
        expiry_paused_ = paused;
        obs::log(
            obs::Level::warning, paused ? "expiry_paused" : "expiry_resumed",
            {{"why", "the wall clock is an hour away from the log's, or the last append was more than 30 days ago"}});
    }
    if (paused) return;
    for (auto& [id, state] : streams_) {
        log::Retain retain;
        retain.stream = id;
        retain.version = state->stream->version;
        bool any = false;
        const std::int64_t before_ms = now_ms - state->stream->retain_ms;
        if (!state->keep_log && state->oldest_append_ms < before_ms &&
            state->asked_before_ms < state->oldest_append_ms) {
            retain.appended_before_ms = state->asked_before_ms = before_ms;
            any = true;
        }
        if (!state->keep_log && state->stream->retain_bytes >= 0 && state->bytes > state->stream->retain_bytes &&
            !state->bytes_asked) {
            retain.bytes_kept = state->stream->retain_bytes;
            state->bytes_asked = any = true;
        }
        if (state->index) {
            const std::int64_t within_ms = state->stream->schema.dedup_within_ms;
            // A bucket is forgotten when its youngest id is older than WITHIN.
            const std::int64_t bucket = dedup::bucket_of(now_ms - within_ms, within_ms) - 1;
            if (state->oldest_bucket <= bucket && state->asked_bucket < bucket) {
                retain.dedup_bucket = state->asked_bucket = bucket;
                state->index->expire_through(bucket);
                any = true;
            }
        }
        if (!any) continue;
        message::Control control;
        control.section = log::encode_section(retain);
        control.applied = [](LogIndex, const Status&) {};
        controls_.push_back(std::move(control));
    }
}

// Apply says when a tick would do something; here it becomes an entry, as the append clock is the leader's.
void Admission::tick() {
    // As in expire(): the entry's append time decides, not the clock. A tick before its time closes nothing, and apply,
    // whose need has not changed by it, would not ask again.
    const std::int64_t now_ms = pending_ ? pending_->append_ms : clock_.now_ms();
    if (now_ms < next_tick_ms_) return;
    next_tick_ms_ = INT64_MAX;
    for (auto& [id, state] : streams_) {
        if (state->tick_due_ms > now_ms) {
            next_tick_ms_ = std::min(next_tick_ms_, state->tick_due_ms);
            continue;
        }
        state->tick_due_ms = INT64_MAX;  // until apply tells the next, which it does after the tick
        message::Control control;
        control.section = log::encode_section(log::Tick{id});
        control.applied = [](LogIndex, const Status&) {};
        controls_.push_back(std::move(control));
    }
}

void Admission::share_dedup_memory() {
    std::size_t bytes = 0;
    std::uint64_t ids = 0;
    std::vector<std::size_t> wants;
    for (auto& [id, state] : streams_) {
        if (!state->index) continue;
        bytes += state->index->memory_bytes();
        ids += state->index->table_count();
        wants.push_back(state->index->wanted_bytes());
    }
    const std::size_t level =
        dedup::run_memory_level(dedup::run_memory(options_.dedup_memory).kept_bytes, std::move(wants));
    for (auto& [id, state] : streams_) {
        if (state->index) state->index->set_memory_budget(level);
    }
    counters_.dedup_memory_bytes = bytes;
    counters_.dedup_table_ids = ids;
}

}  // namespace weir::replica
