// Requests with an Idempotency-Key: what the entry carries for them, and what a retry is told.
#include "admission_bench.h"
#include "base/limits.h"

namespace weir::replica::test {
namespace {

record::StreamPtr answers() {
    auto stream = std::make_shared<record::Stream>(*a_stream(1));
    stream->id = log::answers_stream(ShardId(0));
    stream->name = "answers";
    stream->schema.dedup_within_ms = 86'400'000;
    return stream;
}

struct KeyBench : Bench {
    explicit KeyBench(record::StreamPtr s = a_stream()) : Bench(std::move(s)) {
        StreamAdmission facts;
        facts.stream = answers();
        facts.end_offsets = {7};
        admission.on_message(message::StreamDefined{std::move(facts)});
        (void)admission.step();
    }
    void send_with_key(std::uint64_t key, const std::string& body) {
        IngestRequest r = request(body);
        r.key = std::make_unique<RequestKey>();
        r.key->id = {key, 1};
        r.key->answer = [](const IngestOutcome& o) {
            return std::to_string(o.accepted) + "/" + std::to_string(o.duplicates) + "/" + std::to_string(o.rejected) +
                   "@" + std::to_string(o.applied_index.value);
        };
        admission.on_message(std::move(r));
        (void)admission.step();
    }
    // The batches of answers proposed so far.
    std::vector<log::BatchSection> kept() {
        std::vector<log::BatchSection> found;
        for (const auto& batch : sections<log::BatchSection>())
            if (batch.stream.is_null()) found.push_back(batch);
        return found;
    }
    static std::vector<std::string> values(const log::BatchSection& batch) {
        std::vector<std::string> out;
        const auto view = record::read_batch(batch.batch);
        REQUIRE(view.has_value());
        auto records = record::RecordIterator::open(view.value(), limits::batch_bytes_max);
        REQUIRE(records.has_value());
        record::Record record;
        while (records.value().next(record).value())
            out.emplace_back(record.value);
        return out;
    }
};

}  // namespace

TEST_CASE("a request with a key brings its answer in the entry of its events, with the key's fingerprint") {
    KeyBench b;
    b.send_with_key(5, "{\"id\":\"a\"}\n{\"id\":\"a\"}\nnope");
    REQUIRE(b.proposals.size() == 1);
    CHECK(b.outcomes.empty());
    const log::Entry entry = b.entry(0);
    CHECK(records_in(entry, dead_letter_partition) == 1);
    REQUIRE(b.kept().size() == 1);
    const log::BatchSection batch = b.kept()[0];
    CHECK(batch.partition == 0);
    CHECK(batch.base_offset == 7);
    CHECK(batch.fingerprints == std::vector<record::Fingerprint>{{5, 1}});
    CHECK(KeyBench::values(batch) == std::vector<std::string>{"1/1/1@10"});
    b.commit(0);
    REQUIRE(b.outcomes.size() == 1);
    CHECK(b.outcomes[0].accepted == 1);
    CHECK(b.outcomes[0].answered_at == -1);
    CHECK(b.outcomes[0].applied_index == LogIndex(10));
}

TEST_CASE("a retry does nothing: while the first is in flight it is told so, afterwards where the answer is") {
    KeyBench b;
    b.send_with_key(5, R"({"id":"a"})");
    b.send_with_key(5, R"({"id":"a"})");
    REQUIRE(b.outcomes.size() == 1);
    CHECK(b.outcomes[0].in_progress);
    CHECK(b.outcomes[0].status.has_value());
    b.commit(0);
    b.send_with_key(5, R"({"id":"other"})");
    REQUIRE(b.outcomes.size() == 3);
    CHECK(b.outcomes[2].answered_at == 7);
    CHECK(b.outcomes[2].applied_index == LogIndex(10));
    CHECK_FALSE(b.outcomes[2].in_progress);
    CHECK(b.outcomes[2].accepted == 0);
    b.clock.advance_ms(5000);
    (void)b.admission.step();
    CHECK(b.proposals.size() == 1);  // nothing to store, nothing to count
    CHECK(b.admission.counters().answered_again == 2);
    CHECK(b.admission.counters().duplicates == 0);
    // Another key, and the same key of another request within one flush.
    b.send_with_key(6, R"({"id":"a"})");
    b.send_with_key(6, R"({"id":"a"})");
    CHECK(b.outcomes.back().in_progress);
    REQUIRE(b.kept().size() == 2);
    CHECK(b.kept()[1].base_offset == 8);
    CHECK(KeyBench::values(b.kept()[1]) == std::vector<std::string>{"0/1/0@11"});
}

TEST_CASE("duplicates and refusals alone are answers too, and wait for their own entry") {
    KeyBench b(a_stream(1, record::OnError::reject));
    b.send(R"({"id":"a"})");
    (void)b.admission.step();
    b.commit(0);
    const std::size_t before = b.outcomes.size();
    b.send_with_key(1, R"({"id":"a"})");
    b.send_with_key(2, "nope");
    CHECK(b.outcomes.size() == before);
    REQUIRE(b.proposals.size() == 2);
    b.commit(1);
    REQUIRE(b.proposals.size() == 3);
    b.commit(2);
    REQUIRE(b.outcomes.size() == before + 2);
    CHECK(b.outcomes[before].duplicates == 1);
    CHECK(b.outcomes[before + 1].rejected == 1);
    b.send_with_key(1, R"({"id":"a"})");
    b.send_with_key(2, "nope");
    CHECK(b.outcomes[before + 2].answered_at == 7);
    CHECK(b.outcomes[before + 3].answered_at == 8);
}

TEST_CASE("keys of one flush share an entry; what is refused for now leaves its key free") {
    KeyBench b;
    b.send_with_key(1, R"({"id":"a"})");
    b.send_with_key(2, R"({"id":"b"})");
    b.send_with_key(3, R"({"id":"c"})");
    b.commit(0);
    REQUIRE(b.proposals.size() == 2);
    REQUIRE(b.kept().size() == 2);
    CHECK(KeyBench::values(b.kept()[1]) == std::vector<std::string>{"1/0/0@11", "1/0/0@11"});
    b.commit(1);
    b.admission.on_message(message::DiskState{true});
    b.send_with_key(4, R"({"id":"d"})");
    REQUIRE_FALSE(b.outcomes.back().status.has_value());
    b.admission.on_message(message::DiskState{false});
    b.send_with_key(4, R"({"id":"d"})");
    REQUIRE(b.proposals.size() == 3);
    b.commit(2);
    CHECK(b.outcomes.back().accepted == 1);
}

TEST_CASE("before there was a key the answers begin at 0") {
    Bench b;
    IngestRequest r = b.request(R"({"id":"a"})");
    r.key = std::make_unique<RequestKey>();
    r.key->id = {1, 1};
    r.key->answer = [](const IngestOutcome&) { return std::string("kept"); };
    b.admission.on_message(std::move(r));
    (void)b.admission.step();
    const auto batches = b.sections<log::BatchSection>();
    REQUIRE(batches.size() == 2);
    CHECK(batches[1].stream == log::answers_stream(ShardId(0)));
    CHECK(batches[1].base_offset == 0);
}

TEST_CASE("what the log holds of keys is known to the next leader") {
    KeyBench b;
    StreamAdmission facts;
    facts.stream = answers();
    facts.end_offsets = {9};
    facts.recent = {{{5, 1}, dedup::Place::of(0, 8)}};
    facts.recent_index = LogIndex(9);
    b.admission.on_message(message::StreamDefined{std::move(facts)});
    b.send_with_key(5, R"({"id":"a"})");
    REQUIRE(b.outcomes.size() == 1);
    CHECK(b.outcomes[0].answered_at == 8);
    b.send_with_key(6, R"({"id":"a"})");
    CHECK(b.kept().at(0).base_offset == 9);
}

TEST_CASE("a key is forgotten a day later, by an entry") {
    KeyBench b;
    b.send_with_key(5, R"({"id":"a"})");
    b.commit(0);
    message::RunsAdopted adopted;
    adopted.stream = log::answers_stream(ShardId(0));
    adopted.covered = LogIndex(1);
    adopted.oldest_bucket = dedup::bucket_of(b.clock.wall, 86'400'000);
    b.admission.on_message(std::move(adopted));
    b.clock.advance_ms(23 * 3'600'000);
    b.step_and_commit();
    b.send_with_key(5, R"({"id":"b"})");
    CHECK(b.outcomes.back().answered_at == 7);
    b.clock.advance_ms(5 * 3'600'000);
    b.step_and_commit();
    bool told = false;
    for (const auto& retain : b.sections<log::Retain>())
        told = told || (retain.stream.is_null() && retain.dedup_bucket != INT64_MIN);
    CHECK(told);
    b.send_with_key(5, R"({"id":"b"})");
    b.step_and_commit();
    CHECK(b.outcomes.back().accepted == 1);
}

}  // namespace weir::replica::test
