#include "admission_bench.h"
#include "base/limits.h"

namespace weir::replica::test {

TEST_CASE("rule: an acknowledged event is fsynced: what comes while an entry is in flight becomes the next entry",
          "[rule]") {
    Bench b;
    b.send(R"({"id":"a"})");
    (void)b.admission.step();
    REQUIRE(b.proposals.size() == 1);
    CHECK(b.proposals[0].index == LogIndex(10));
    for (int i = 0; i < 50; i++)
        b.send("{\"id\":\"x" + std::to_string(i) + "\"}");
    (void)b.admission.step();
    CHECK(b.proposals.size() == 1);  // small ones wait for the flush
    CHECK(b.outcomes.empty());       // nothing is acknowledged before it is committed
    b.commit(0);
    REQUIRE(b.proposals.size() == 2);
    CHECK(b.proposals[1].waiters.size() == 50);
    CHECK(records_in(b.entry(1), 0) == 50);
    REQUIRE(b.outcomes.size() == 1);
    CHECK(b.outcomes[0].accepted == 1);
    CHECK(b.outcomes[0].applied_index == LogIndex(10));
}

TEST_CASE("admission: offsets are dense and continue from the log's end") {
    Bench b;
    b.send("{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n{\"id\":\"d\"}");
    (void)b.admission.step();
    b.commit(0);
    std::uint32_t count = 0;
    for (const auto& range : b.outcomes.at(0).partitions) {
        CHECK(range.base_offset == 100);
        count += range.count;
    }
    CHECK(count == 4);
    for (const auto& section : b.entry(0).sections) {
        const auto& batch = std::get<log::BatchSection>(section);
        CHECK(batch.base_offset == 100);
        CHECK(batch.fingerprints.size() == batch.count);
        CHECK(batch.version == 1);
    }
}

TEST_CASE("admission: a duplicate within a request, within an entry and of the committed log names the first one") {
    Bench b;
    b.send("{\"id\":\"a\"}\n{\"id\":\"a\"}");
    b.send(R"({"id":"a"})");
    (void)b.admission.step();
    REQUIRE(b.proposals.size() == 1);
    CHECK(records_in(b.entry(0), 0) == 1);
    b.commit(0);
    b.send(R"({"id":"a"})");
    (void)b.admission.step();
    REQUIRE(b.outcomes.size() == 3);
    const auto first = b.outcomes[0].partitions.at(0);
    CHECK(b.outcomes[0].duplicate_of.at(0).index == 1);
    for (const auto& outcome : b.outcomes) {
        CHECK(outcome.duplicates == 1);
        CHECK(outcome.duplicate_of.at(0).partition == first.partition);
        CHECK(outcome.duplicate_of.at(0).offset == first.base_offset);
    }
}

TEST_CASE("rule: an entry carries fingerprints: a duplicate of an event in flight waits for the first one's fate",
          "[rule]") {
    Bench b;
    b.send(R"({"id":"a"})");
    (void)b.admission.step();
    b.send(R"({"id":"a"})");
    (void)b.admission.step();
    CHECK(b.outcomes.empty());
    REQUIRE(b.waits.size() == 1);
    CHECK(b.waits[0].first == b.proposals[0].index);
    CHECK(b.waits[0].second.outcome.duplicates == 1);
}

TEST_CASE("rule: what apply needs stands in the log: the counts of duplicates become an entry within a second",
          "[rule]") {
    Bench b;
    b.send(R"({"id":"a"})");
    (void)b.admission.step();
    b.commit(0);
    b.send(R"({"id":"a"})");
    (void)b.admission.step();
    CHECK(b.proposals.size() == 1);
    b.clock.advance_ms(1001);
    (void)b.admission.step();
    REQUIRE(b.proposals.size() == 2);
    const auto entry = b.entry(1);
    REQUIRE(entry.sections.size() == 1);
    CHECK(std::get<log::CountsSection>(entry.sections[0]).duplicate == 1);
    b.commit(1);
    b.clock.advance_ms(5000);
    (void)b.admission.step();
    CHECK(b.proposals.size() == 2);  // and none while there is nothing to count
}

TEST_CASE("rule: dead letters are records of partition -1: of the same entry as the events, bytes unchanged",
          "[rule]") {
    Bench b;
    b.send("{\"id\":\"a\"}\n{broken \xff\n[1]\n{\"id\":null}");
    (void)b.admission.step();
    REQUIRE(b.proposals.size() == 1);
    const auto entry = b.entry(0);
    CHECK(records_in(entry, 0) == 1);
    CHECK(records_in(entry, dead_letter_partition) == 3);
    for (const auto& section : entry.sections) {
        const auto& batch = std::get<log::BatchSection>(section);
        if (batch.partition != dead_letter_partition) continue;
        auto view = record::read_batch(batch.batch);
        REQUIRE(view.has_value());
        auto records = record::RecordIterator::open(view.value(), 1 << 20);
        REQUIRE(records.has_value());
        record::Record r;
        REQUIRE(records.value().next(r).value());
        CHECK(r.value == "{broken \xff");
        auto headers = record::read_headers(r.headers);
        REQUIRE(headers.has_value());
        CHECK(headers.value().at(0).value == "malformed_json");
    }
    b.commit(0);
    CHECK(b.outcomes.at(0).rejected == 3);
    CHECK(b.outcomes.at(0).errors.at(1).reason == record::Reject::not_an_object);
}

TEST_CASE("admission: ON ERROR REJECT counts and keeps nothing") {
    Bench b(a_stream(1, record::OnError::reject));
    b.send("[1]");
    (void)b.admission.step();
    CHECK(b.proposals.empty());
    REQUIRE(b.outcomes.size() == 1);
    CHECK(b.outcomes[0].rejected == 1);
    b.clock.advance_ms(1001);
    (void)b.admission.step();
    REQUIRE(b.proposals.size() == 1);
    CHECK(std::get<log::CountsSection>(b.entry(0).sections.at(0)).refused == 1);
}

TEST_CASE("admission: without BY and DEDUP KEY a batch goes to one partition, the next to the next") {
    Bench b(a_stream(3, record::OnError::dead_letter, false));
    std::vector<PartitionNo> used;
    for (int i = 0; i < 6; i++) {
        b.send("{\"id\":\"a\"}\n{\"id\":\"b\"}");
        (void)b.admission.step();
        b.commit(b.proposals.size() - 1);
        REQUIRE(b.outcomes.back().partitions.size() == 1);
        CHECK(b.outcomes.back().partitions[0].count == 2);
        used.push_back(b.outcomes.back().partitions[0].partition);
    }
    CHECK(used == std::vector<PartitionNo>{0, 1, 2, 0, 1, 2});
}

TEST_CASE("rule: CREATE over two groups: a catalog entry stands alone, because its index becomes an id", "[rule]") {
    Bench b;
    message::Control put;
    put.section = log::encode_section(log::CatalogPut{log::ObjectKind::stream, "t", "CREATE"});
    put.alone = true;
    put.applied = [](LogIndex, const Status&) {};
    b.send(R"({"id":"a"})");
    b.admission.on_message(std::move(put));
    (void)b.admission.step();
    b.send(R"({"id":"b"})");
    (void)b.admission.step();
    for (std::size_t i = 0; i < b.proposals.size(); i++)
        b.commit(i);
    CHECK(b.outcomes.size() == 2);
    std::size_t alone = 0;
    for (std::size_t i = 0; i < b.proposals.size(); i++) {
        const auto entry = b.entry(i);
        for (const auto& section : entry.sections) {
            if (std::holds_alternative<log::CatalogPut>(section)) {
                alone++;
                CHECK(entry.sections.size() == 1);
                CHECK(b.proposals[i].controls.size() == 1);
            }
        }
    }
    CHECK(alone == 1);
}

TEST_CASE("admission: a dropped stream, a full disk and a stop refuse and store nothing") {
    auto refused = [](Bench& b, Errc want) {
        (void)b.admission.step();
        REQUIRE(b.outcomes.size() == 1);
        REQUIRE_FALSE(b.outcomes[0].status.has_value());
        CHECK(b.outcomes[0].status.error().code == want);
        CHECK(b.proposals.empty());
        b.outcomes.clear();
    };
    Bench gone;
    gone.admission.on_message(message::StreamDropped{gone.stream->id});
    gone.send(R"({"id":"a"})");
    refused(gone, Errc::not_found);

    Bench full;
    full.admission.on_message(message::DiskState{true});
    full.send(R"({"id":"a"})");
    refused(full, Errc::disk_full);
    full.admission.on_message(message::DiskState{false});
    full.send(R"({"id":"a"})");
    (void)full.admission.step();
    CHECK(full.proposals.size() == 1);

    Bench stopped;
    stopped.admission.on_message(message::Stop{});
    stopped.send(R"({"id":"a"})");
    refused(stopped, Errc::shutting_down);
    CHECK_FALSE(stopped.admission.ready());
}

TEST_CASE("rule: queue 2 full: proposals wait while apply is more than apply_lag_bytes behind", "[rule]") {
    Bench b;
    AdmissionOptions options;
    options.apply_lag_bytes = 1000;
    std::vector<Proposal> proposals;
    Admission admission(
        options, b.clock,
        {[&](Proposal&& p) { proposals.push_back(std::move(p)); }, [](LogIndex, Waiter&&) {}, [](const Error&) {}});
    admission.on_message(message::Leading{LogIndex(1), Term(1), LogIndex(0)});
    message::Recovered recovered;
    StreamAdmission facts;
    facts.stream = b.stream;
    facts.end_offsets = {0, 0};
    recovered.streams.push_back(std::move(facts));
    admission.on_message(std::move(recovered));
    for (int i = 0; i < 20; i++) {
        admission.on_message(b.request("{\"id\":\"" + std::string(200, static_cast<char>('a' + i)) + "\"}"));
        (void)admission.step();
        if (!proposals.empty()) admission.on_message(message::CommittedUpTo{proposals.back().index});
    }
    (void)admission.step();
    const auto before = proposals.size();
    CHECK(before < 10);
    admission.on_message(message::AppliedUpTo{proposals.back().index});
    (void)admission.step();
    CHECK(proposals.size() > before);
}

TEST_CASE(
    "rule: time buckets of sorted runs: ids of requests beyond dedup_memory wait for a checkpoint, too many in one are "
    "refused",
    "[rule]") {
    AdmissionOptions options;
    options.dedup_memory = 4u << 20;  // 32,768 ids in tables, half of them in one request
    Bench b(a_stream(), INT64_MIN, options);
    std::uint64_t next = 0;
    const auto ids = [&](std::size_t count) {
        std::string body;
        for (std::size_t i = 0; i < count; i++)
            body += "{\"id\":\"" + std::to_string(next++) + "\"}\n";
        return body;
    };
    b.send(ids(16'385));
    b.step_and_commit();
    REQUIRE(b.outcomes.size() == 1);
    CHECK(b.outcomes[0].status.error().code == Errc::too_large);
    CHECK(b.outcomes[0].status.error().detail.find("(16384)") != std::string::npos);
    CHECK(b.proposals.empty());
    for (int i = 0; i < 3; i++)
        b.send(ids(16'384));
    b.step_and_commit();
    CHECK(b.outcomes.size() == 3);  // the third waits
    b.admission.on_message(message::CheckpointBegan{});
    b.step_and_commit();
    CHECK(b.outcomes.size() == 3);
    message::RunsAdopted adopted;
    adopted.stream = b.stream->id;
    adopted.covered = b.proposals.front().index;
    b.admission.on_message(std::move(adopted));
    b.step_and_commit();
    CHECK(b.outcomes.size() == 4);
    for (std::size_t i = 1; i < b.outcomes.size(); i++)
        CHECK(b.outcomes[i].accepted == 16'384);
}

TEST_CASE("a tick never joins an entry whose append time is before the one that it is due at") {
    Bench b;
    b.send("{\"id\":\"1\"}");
    (void)b.admission.step();
    REQUIRE(b.proposals.size() == 1);
    // The next entry is begun while that one is under way, and keeps the append time that it began with.
    b.send("{\"id\":\"2\"}");
    (void)b.admission.step();
    REQUIRE(b.proposals.size() == 1);
    const std::int64_t due_ms = b.clock.wall + 1'000;
    b.admission.on_message(message::StreamNeeds{b.stream->id, due_ms, false});
    b.clock.advance_ms(5'000);
    (void)b.admission.step();
    b.commit(0);
    (void)b.admission.step();
    REQUIRE(b.proposals.size() == 2);
    CHECK(b.entry(1).append_time_ms < due_ms);
    CHECK(b.sections<log::Tick>().empty());  // apply would not take it for the one it asked for, and ask no more
    b.commit(1);
    (void)b.admission.step();
    REQUIRE(b.sections<log::Tick>().size() == 1);
    CHECK(b.entry(b.proposals.size() - 1).append_time_ms >= due_ms);
}

}  // namespace weir::replica::test
