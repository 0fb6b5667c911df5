// What of an entry goes to the stream's files: batches to segments as they are, what they cannot hold to the journal,
// dead letters to a partition of their own; ids to the dedup index.
#include "dedup/run.h"
#include "log/journal.h"
#include "log/partition.h"
#include "unit/apply/bench.h"

#include <algorithm>

namespace weir::apply {
namespace {

constexpr std::int64_t first_append_ms = 1'700'000'000'000;  // of Bench's first entry

StreamRecord record_of(Bench& b, ObjectId id) {
    return StreamRecord::decode(*b.state->get(object_key('s', id)).value()).value();
}
std::string segment_bytes(Bench& b, ObjectId id, PartitionNo p) {
    std::string bytes;
    for (const auto& name : b.names_in(b.partition(id, p))) {
        if (name.ends_with(".log")) bytes += os::read_file(*b.disk, b.partition(id, p) + "/" + name, 1 << 24).value();
    }
    return bytes;
}
// Each record as index@append_time/version{partition:base+count ...}.
std::string journal_text(Bench& b, ObjectId id, const log::JournalState& state) {
    auto reader = log::JournalReader::open(*b.disk, stream_dir(b.shard(), id) + "/journal", state, LogIndex(0)).value();
    std::string text;
    while (const auto record = reader->next().value()) {
        text += (text.empty() ? "" : " ") + std::to_string(record->index.value) + "@" +
                std::to_string(record->append_time_ms - first_append_ms) + "/" +
                std::to_string(record->definition_version) + "{";
        for (const auto& batch : record->batches) {
            text += (text.back() == '{' ? "" : " ") + std::to_string(batch.partition) + ":" +
                    std::to_string(batch.base_offset) + "+" + std::to_string(batch.count);
        }
        text += "}";
    }
    return text;
}

}  // namespace

TEST_CASE(
    "rule: the journal holds what a batch cannot: an entry's index, append time and version, where its batches are",
    "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    const auto other = b.make(log::ObjectKind::stream, "o", stream_sql);
    auto first = b.batch(id, 0, 0, 3, t0);
    auto second = b.batch(id, 1, 0, 2, t0);
    auto dead = b.batch_of(id, dead_letter_partition, 0, {{t0, "{bad"}});
    REQUIRE(b.add({second, first, dead}));           // entry 5
    REQUIRE(b.add({b.batch(other, 0, 0, 1, t0)}));   // not of this stream
    REQUIRE(b.add({log::CountsSection{id, 3, 0}}));  // brings no batch
    auto third = b.batch(id, 0, 3, 4, t0 + 9000);
    third.version = 7;
    REQUIRE(b.add({third, b.batch(id, 0, 7, 1, t0)}));
    b.checkpoint();
    const std::string want = "5@4000/1{1:0+2 0:0+3 -1:0+1} 8@7000/7{0:3+4 0:7+1}";
    CHECK(journal_text(b, id, record_of(b, id).journal) == want);
    // Checkpointed with the segments, and appended again by a replay.
    b.open(LogIndex(b.entries.size()));
    CHECK(journal_text(b, id, record_of(b, id).journal) == want);
    // Readers go by the bound that is committed with the rows.
    const auto state =
        log::JournalState::decode(b.rows("SELECT state FROM _journals WHERE stream = " + std::to_string(id.packed())));
    CHECK(journal_text(b, id, state.value()) == want);
    // The segments stay pure Kafka batches.
    CHECK(segment_bytes(b, id, 1) == second.batch);
    CHECK(segment_bytes(b, id, 0).starts_with(std::string(first.batch) + std::string(third.batch)));
}

TEST_CASE("rule: the journal holds what a batch cannot: retention takes its files with the segments", "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", "CREATE STREAM s (id TEXT) PARTITIONS 2 RETAIN 160s");
    for (int i = 0; i < 60; i++) {  // segments and journal files of ten seconds
        REQUIRE(b.add({b.batch_of(id, 0, i, {{t0, "{}"}}), b.batch_of(id, dead_letter_partition, i, {{t0, "bad"}})}));
        if (i % 7 == 0) b.settle();
    }
    b.checkpoint();
    const auto before = record_of(b, id);
    const std::int64_t cut_ms = b.next_append_ms() - 25'000;
    REQUIRE(b.add({log::Retain{id, cut_ms, -1, INT64_MIN}}));
    b.checkpoint();
    const auto after = record_of(b, id);
    CHECK(after.journal.files.size() < before.journal.files.size());
    CHECK(after.journal.files.size() > 1);
    for (const auto& file : after.journal.files)
        CHECK(file.last_append_ms >= cut_ms);
    // What is left of the events has its append times.
    const auto text = journal_text(b, id, after.journal);
    for (std::int64_t offset = after.partitions[0].start_offset; offset < 60; offset++)
        REQUIRE(text.find("{0:" + std::to_string(offset) + "+1 ") != std::string::npos);
    CHECK(after.partitions[0].start_offset > 20);
}

TEST_CASE("rule: dead letters are records of partition -1: applied, replayed, read and retained like the rest",
          "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    b.make(log::ObjectKind::view, "v", view_sql, id);
    const std::string raw = std::string("{\"id\":\xff\x00 not json", 16);  // bytes unchanged, whatever they are
    const record::Header headers[] = {{dead_header_reason, "malformed_json"}, {dead_header_column, ""}};
    auto dead = b.batch_of(id, dead_letter_partition, 0, {{t0, raw}, {t0 + 1, "second"}}, headers);
    REQUIRE(b.add({b.batch(id, 0, 0, 5, t0), dead}));
    b.settle();
    CHECK(b.rows("SELECT stored, dead_lettered FROM _counters") == "5|2");
    CHECK(b.rows("SELECT seen FROM _views") == "5");  // a view does not see them
    CHECK(b.rows("SELECT start_offset, end_offset FROM _ends WHERE partition = -1") == "0|2");
    const auto want = segment_bytes(b, id, dead_letter_partition);
    CHECK(want == dead.batch);
    b.reopen_and_replay();
    CHECK(segment_bytes(b, id, dead_letter_partition) == want);
    b.checkpoint();
    b.reopen_and_replay();
    CHECK(segment_bytes(b, id, dead_letter_partition) == want);
    const auto state = record_of(b, id).dead;
    auto reader =
        log::PartitionReader::open(*b.disk, b.partition(id, dead_letter_partition), log::read_bound(state), {}, true)
            .value();
    const auto batch = record::read_batch(reader->next().value().value()).value();
    auto records = record::RecordIterator::open(batch, 1 << 20).value();
    record::Record record;
    REQUIRE(records.next(record).value());
    CHECK(record.value == raw);
    CHECK(record.timestamp_ms == t0);

    REQUIRE(b.add({log::Retain{id, b.next_append_ms(), -1, INT64_MIN}}));
    b.settle();
    CHECK(b.rows("SELECT start_offset, end_offset FROM _ends WHERE partition = -1") == "2|2");
    b.checkpoint();
    b.clock.advance_ms(10'000);
    b.settle();
    CHECK(b.names_in(b.partition(id, dead_letter_partition)).empty());
    CHECK(b.rows("SELECT dead_lettered FROM _counters") == "2");  // counted all the same
}

TEST_CASE("rule: an entry carries fingerprints: index and runs are filled from them, nothing is decoded", "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    // Values that no decoder takes for events, and ids that stand nowhere but in the entry.
    auto section = b.batch_of(id, 1, 0, {{t0, "\x01"}, {t0, "no json"}, {t0, ""}});
    section.fingerprints = {{77, 1}, {0, 0}, {78, 3}};  // the second has no key
    REQUIRE(b.add({section}));
    b.settle();
    CHECK(b.applier->counters().decoded_again == 0);
    for (const bool checkpointed : {false, true}) {
        if (checkpointed) b.checkpoint();
        b.reopen_and_replay();  // a replay, and what a new leader begins with
        CHECK(b.applier->counters().decoded_again == 0);
        REQUIRE(b.recovered.size() == 1);
        const auto& facts = b.recovered[0];
        REQUIRE(facts.recent.size() == (checkpointed ? 0 : 2));
        REQUIRE(facts.runs.size() == (checkpointed ? 1 : 0));
        if (checkpointed) {
            CHECK(facts.runs[0]->state().count == 2);
            CHECK(facts.runs[0]->find({77, 1}).value()->partition() == 1);
            CHECK(facts.runs[0]->find({78, 3}).value()->offset() == 2);
        } else {
            CHECK(facts.recent[0].id == record::Fingerprint{77, 1});
            CHECK(facts.recent[1].place.offset() == 2);
        }
    }
}

TEST_CASE(
    "rule: time buckets of sorted runs: a run is unlinked with its bucket, by an entry, after the next checkpoint",
    "[rule]") {
    Bench b;
    b.settle();
    const auto id = b.make(log::ObjectKind::stream, "s", stream_sql);
    constexpr std::int64_t within_ms = 3'600'000;
    const std::string dir = stream_dir(b.shard(), id) + "/dedup";
    const auto old_bucket = dedup::bucket_of(b.next_append_ms(), within_ms);
    REQUIRE(b.add({b.batch(id, 0, 0, 10, t0)}));
    b.checkpoint();
    b.append_ms += within_ms / 2;
    REQUIRE(b.add({b.batch(id, 0, 10, 10, t0)}));
    b.checkpoint();
    REQUIRE(b.names_in(dir) == std::vector<std::string>{"run1.dd", "run2.dd"});
    b.append_ms += within_ms;
    REQUIRE(b.add({b.batch(id, 0, 20, 10, t0)}));
    b.checkpoint();
    REQUIRE(record_of(b, id).runs.size() == 3);

    // Time alone does nothing: the entry decides.
    b.clock.advance_ms(100 * within_ms);
    b.settle();
    CHECK(b.names_in(dir).size() == 3);
    REQUIRE(b.add({log::Retain{id, INT64_MIN, -1, old_bucket}}));
    b.settle();
    b.clock.advance_ms(10'000);
    b.settle();
    CHECK(b.names_in(dir).size() == 3);  // the last checkpoint lists it: a crash now needs it
    b.reopen_and_replay();
    CHECK(b.names_in(dir).size() == 3);
    b.checkpoint();
    b.settle();
    CHECK(b.names_in(dir).size() == 3);  // not before the longest read
    b.clock.advance_ms(10'000);
    b.settle();
    CHECK(b.names_in(dir) == std::vector<std::string>{"run2.dd", "run3.dd"});
    CHECK(record_of(b, id).runs.size() == 2);
    CHECK(record_of(b, id).expired_bucket == old_bucket);
    b.reopen_and_replay();
    CHECK(b.recovered.at(0).runs.size() == 2);
    CHECK(b.recovered.at(0).oldest_bucket > old_bucket);

    // A bucket that expires while a checkpoint is being written: the checkpoint lists its runs, the next one does not.
    const auto next_bucket = b.recovered.at(0).oldest_bucket;
    REQUIRE(b.add({b.batch(id, 0, 30, 10, t0)}));
    b.applier->want_checkpoint();
    b.settle();
    REQUIRE(b.add({log::Retain{id, INT64_MIN, -1, next_bucket}}));
    b.settle();
    b.run_job();
    CHECK(b.adopted.back().runs.size() == 2);  // of the newest bucket
    CHECK(b.adopted.back().oldest_bucket > next_bucket);
    b.clock.advance_ms(10'000);
    b.settle();
    REQUIRE(b.jobs.size() == 1);  // the clock asked for one
    CHECK(std::ranges::count(b.names_in(dir), "run2.dd") == 1);
    b.run_job();
    b.clock.advance_ms(10'000);
    b.settle();
    CHECK(std::ranges::count(b.names_in(dir), "run2.dd") == 0);
    b.reopen_and_replay();

    // Ids of a bucket that expires before any checkpoint never become a run.
    const auto runs = record_of(b, id).runs.size();
    REQUIRE(b.add({b.batch(id, 0, 40, 10, t0)}));
    REQUIRE(b.add({log::Retain{id, INT64_MIN, -1, dedup::bucket_of(b.next_append_ms(), within_ms)}}));
    b.checkpoint();
    CHECK(record_of(b, id).runs.empty());
    CHECK(runs > 0);
}

}  // namespace weir::apply
