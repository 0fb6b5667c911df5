// What the leader alone decides: times, counts, expiry, whom it answers and when.
#include "admission_bench.h"
#include "dedup/index.h"

#include <algorithm>

namespace weir::replica::test {
namespace {

constexpr std::int64_t hour_ms = 3'600'000, day_ms = 24 * hour_ms;

// What a checkpoint tells of a stream whose oldest segment and ids are eight days old: RETAIN and WITHIN have passed.
message::RunsAdopted eight_days_old(Bench& b) {
    message::RunsAdopted adopted;
    adopted.stream = b.stream->id;
    adopted.oldest_append_ms = b.clock.wall - 8 * day_ms;
    adopted.oldest_bucket = dedup::bucket_of(b.clock.wall - 8 * day_ms, b.stream->schema.dedup_within_ms);
    return adopted;
}

}  // namespace

TEST_CASE("rule: what apply needs stands in the log: one entry of counts a second while there are any, none without",
          "[rule]") {
    Bench b;
    b.send(R"({"id":"a"})");
    b.step_and_commit();
    const std::size_t before = b.proposals.size();
    for (int i = 0; i < 100; i++) {  // ten seconds of nothing but duplicates
        b.send("{\"id\":\"a\"}\n{\"id\":\"a\"}");
        b.step_and_commit();
        b.clock.advance_ms(100);
    }
    CHECK(b.proposals.size() - before >= 9);
    CHECK(b.proposals.size() - before <= 10);
    b.clock.advance_ms(1001);
    b.step_and_commit();
    std::uint64_t counted = 0;
    for (const auto& counts : b.sections<log::CountsSection>()) {
        CHECK(counts.stream == b.stream->id);
        counted += counts.duplicate;
    }
    CHECK(counted == 200);  // each once
    const std::size_t after = b.proposals.size();
    b.clock.advance_ms(60'000);
    b.step_and_commit();
    CHECK(b.proposals.size() == after);
}

TEST_CASE("rule: what apply needs stands in the log: counts ride along with the next entry that there is", "[rule]") {
    Bench b(a_stream(1, record::OnError::reject));
    b.send(R"({"id":"a"})");
    b.step_and_commit();
    b.send("{\"id\":\"a\"}\n[1]\n[2]");
    b.step_and_commit();
    CHECK(b.sections<log::CountsSection>().empty());
    b.send(R"({"id":"b"})");
    b.step_and_commit();
    const auto counts = b.sections<log::CountsSection>();
    REQUIRE(counts.size() == 1);
    CHECK(counts[0].duplicate == 1);
    CHECK(counts[0].refused == 2);
    CHECK(b.proposals.size() == 2);
}

TEST_CASE(
    "rule: what apply needs stands in the log: an entry names the definition that its events were checked with; "
    "one that an ALTER overtook is taken by the one before",
    "[rule]") {
    auto seventh = std::make_shared<record::Stream>(*a_stream());
    seventh->version = 7;
    Bench b(seventh);
    b.send("{\"id\":\"a\"}\n[1]");
    b.step_and_commit();
    auto batches = b.sections<log::BatchSection>();
    REQUIRE(batches.size() == 2);  // dead letters too
    CHECK(std::all_of(batches.begin(), batches.end(), [](const auto& batch) { return batch.version == 7; }));

    auto eighth = std::make_shared<record::Stream>(*seventh);
    eighth->version = 8;
    record::Column& more = eighth->schema.columns.emplace_back();
    more.name = "more";
    more.path = {{"more", -1}};
    message::StreamAltered defined;
    defined.stream.stream = eighth;
    auto checked_before = b.request(R"({"id":"b"})");
    b.admission.on_message(std::move(defined));
    b.admission.on_message(std::move(checked_before));
    b.step_and_commit();
    CHECK(b.outcomes.back().accepted == 1);
    CHECK(b.sections<log::BatchSection>().back().version == 7);
    b.stream = eighth;
    b.send(R"({"id":"c"})");
    b.step_and_commit();
    CHECK(b.outcomes.back().accepted == 1);
    CHECK(b.sections<log::BatchSection>().back().version == 8);
    // Of one batch the oldest: it says too little of the others, never too much. Duplicates are known across it.
    b.stream = seventh;
    auto first = b.request(R"({"id":"d"})");
    auto again = b.request(R"({"id":"c"})");
    b.stream = eighth;
    auto second = b.request(R"({"id":"e"})");
    b.admission.on_message(std::move(second));
    b.admission.on_message(std::move(first));
    b.admission.on_message(std::move(again));
    b.step_and_commit();
    CHECK(std::any_of(b.outcomes.begin(), b.outcomes.end(), [](const auto& o) { return o.duplicates == 1; }));
    CHECK(b.sections<log::BatchSection>().back().version == 7);
    b.send(R"({"id":"f"})");
    b.step_and_commit();
    CHECK(b.sections<log::BatchSection>().back().version == 8);
}

// stream-sql.md S24; that WITHIN counts append time over restarts and ALTER: tests/unit/cluster.
TEST_CASE("S24: the first of a key wins; a repeat is no log content, whatever else it says, and moves nothing") {
    Bench b;
    b.send(R"({"id":"a","n":1})");
    b.step_and_commit();
    const std::size_t batches = b.sections<log::BatchSection>().size();
    b.send(R"({"id":"a","n":2})");
    b.send("{\"id\":\"a\"}\n{\"id\":\"a\",\"n\":3}");
    (void)b.admission.step();
    REQUIRE(b.outcomes.size() == 3);
    CHECK(b.outcomes[1].duplicates == 1);
    CHECK(b.outcomes[2].duplicates == 2);
    CHECK(b.outcomes[1].duplicate_of.at(0).offset == 100);
    CHECK(b.sections<log::BatchSection>().size() == batches);
    // Within one request, too: the first line is the one.
    b.send("{\"id\":\"b\",\"n\":1}\n{\"id\":\"b\",\"n\":2}");
    b.step_and_commit();
    CHECK(b.outcomes.back().accepted == 1);
    CHECK(b.outcomes.back().duplicates == 1);
    CHECK(b.sections<log::BatchSection>().back().count == 1);
}

TEST_CASE("rule: append time: an entry's is never below the one before, whatever the wall clock does and across lives",
          "[rule]") {
    const std::int64_t ahead = 20 * 60'000;  // the log's last append, where a faster clock wrote it
    Bench b(a_stream(), os::SimClock().wall + ahead);
    std::vector<std::int64_t> times;
    for (int i = 0; i < 50; i++) {
        b.clock.mono_us += 20'000;
        b.clock.wall += (i % 3 - 1) * 40'000;
        b.send("{\"id\":\"" + std::to_string(i) + "\"}");
        b.step_and_commit();
        times.push_back(b.entry(b.proposals.size() - 1).append_time_ms);
    }
    CHECK(times.front() >= os::SimClock().wall + ahead);
    CHECK(std::is_sorted(times.begin(), times.end()));
    CHECK(times.back() - times.front() <= 2'000);  // it ran on the monotonic clock, a second in all
}

TEST_CASE(
    "rule: expiry is an entry: what is older than RETAIN and WITHIN is let go by a Retain section, asked for once",
    "[rule]") {
    Bench b;
    b.admission.on_message(eight_days_old(b));
    b.clock.advance_ms(11'000);
    b.step_and_commit();
    auto retains = b.sections<log::Retain>();
    REQUIRE(retains.size() == 1);
    CHECK(retains[0].stream == b.stream->id);
    CHECK(retains[0].appended_before_ms == b.clock.wall - b.stream->retain_ms);
    const std::int64_t within = b.stream->schema.dedup_within_ms;
    CHECK(retains[0].dedup_bucket == dedup::bucket_of(b.clock.wall - within, within) - 1);
    CHECK(b.proposals.size() == 1);
    CHECK(b.entry(0).append_time_ms == b.clock.wall);
    // Until apply has told what is left, it is not asked for again.
    b.clock.advance_ms(11'000);
    b.step_and_commit();
    CHECK(b.sections<log::Retain>().size() == 1);
    // And nobody who does not lead decides anything.
    std::size_t proposed = 0;
    Admission follower({}, b.clock, {[&](Proposal&&) { proposed++; }, [](LogIndex, Waiter&&) {}, [](const Error&) {}});
    message::Recovered recovered;
    StreamAdmission facts;
    facts.stream = b.stream;
    facts.end_offsets = {100, 100};
    facts.oldest_append_ms = b.clock.wall - 8 * day_ms;
    recovered.streams.push_back(std::move(facts));
    follower.on_message(std::move(recovered));
    for (int i = 0; i < 10; i++) {
        b.clock.advance_ms(11'000);
        (void)follower.step();
    }
    CHECK(proposed == 0);
}

TEST_CASE(
    "rule: expiry is an entry: a day passes after a start more than 30 days after the last append, then it is "
    "proposed",
    "[rule]") {
    Bench b(a_stream(), os::SimClock().wall - AppendClock::gap_ms - 60'000);
    b.admission.on_message(eight_days_old(b));
    CHECK(b.admission.append_clock().alert());
    std::int64_t first_append_ms = 0, last_append_ms = 0;
    int days = 0;
    for (int i = 0; i < 4 * 23; i++) {
        b.clock.advance_ms(hour_ms / 4);
        b.send("{\"id\":\"" + std::to_string(i) + "\"}");
        b.step_and_commit();
        last_append_ms = b.entry(b.proposals.size() - 1).append_time_ms;
        if (first_append_ms == 0) first_append_ms = last_append_ms;
        days += b.sections<log::Retain>().empty() ? 0 : 1;
    }
    CHECK(days == 0);
    CHECK(b.admission.append_clock().alert());
    CHECK(last_append_ms - first_append_ms >= 22 * hour_ms);
    // A quiet node too gets to the end of the pause.
    b.clock.advance_ms(2 * hour_ms);
    b.step_and_commit();
    CHECK_FALSE(b.admission.append_clock().alert());
    const auto retains = b.sections<log::Retain>();
    REQUIRE(retains.size() == 1);
    CHECK(retains[0].appended_before_ms > INT64_MIN);
    CHECK(retains[0].dedup_bucket > INT64_MIN);
    CHECK(b.entry(b.proposals.size() - 1).append_time_ms - first_append_ms >= day_ms - hour_ms / 4);
}

TEST_CASE("rule: expiry is an entry: none while the wall clock is an hour away, and again when it is back", "[rule]") {
    Bench b;
    b.admission.on_message(eight_days_old(b));
    b.clock.wall += 2 * AppendClock::far_ms;
    for (int i = 0; i < 50; i++) {
        b.clock.advance_ms(11'000);
        b.step_and_commit();
    }
    CHECK(b.proposals.empty());
    CHECK(b.admission.append_clock().alert());
    b.clock.wall -= 2 * AppendClock::far_ms;
    b.clock.advance_ms(11'000);
    b.step_and_commit();
    CHECK(b.sections<log::Retain>().size() == 1);
}

TEST_CASE("rule: a new leader answers when the index is whole: neither leading nor a part of the index is enough",
          "[rule]") {
    const auto stream = a_stream();
    std::vector<Proposal> proposals;
    std::vector<IngestOutcome> outcomes;
    Bench maker(stream);
    Admission admission(
        {}, maker.clock,
        {[&](Proposal&& p) { proposals.push_back(std::move(p)); }, [](LogIndex, Waiter&&) {}, [](const Error&) {}});
    const auto send = [&](const std::string& body) {
        auto request = maker.request(body);
        request.done = [&](IngestOutcome&& outcome) { outcomes.push_back(std::move(outcome)); };
        admission.on_message(std::move(request));
    };
    const auto stands_still = [&] {
        for (int i = 0; i < 5; i++) {
            maker.clock.advance_ms(1'000);
            (void)admission.step();
        }
        CHECK_FALSE(admission.ready());
        CHECK(outcomes.empty());
        CHECK(proposals.empty());
    };
    const auto id = maker.request(R"({"id":"stored"})").events->fingerprint.at(0);
    send(R"({"id":"stored"})");
    send(R"({"id":"new"})");
    stands_still();
    const message::Leading leading{LogIndex(10), Term(4), LogIndex(9)};
    bool leads_first = false;
    SECTION("the log is read, and another leads") {}
    SECTION("it leads, and the log is not read") {
        leads_first = true;
    }
    if (leads_first) {
        admission.on_message(message::Leading(leading));
        stands_still();
    }
    const auto recovered = [&] {
        message::Recovered m;
        StreamAdmission facts;
        facts.stream = stream;
        facts.end_offsets = {5, 5};
        facts.recent.push_back({id, dedup::Place::of(1, 3)});
        facts.recent_index = LogIndex(9);
        m.streams.push_back(std::move(facts));
        return m;
    };
    admission.on_message(recovered());
    if (!leads_first) {
        stands_still();
        admission.on_message(message::Leading(leading));
    }
    admission.on_message(message::CommittedUpTo{LogIndex(9)});
    (void)admission.step();
    CHECK(admission.ready());
    // The duplicate is answered with the place that the log has; the new one waits for its own entry.
    REQUIRE(outcomes.size() == 1);
    CHECK(outcomes[0].duplicates == 1);
    REQUIRE(outcomes[0].duplicate_of.size() == 1);
    CHECK(outcomes[0].duplicate_of[0].partition == 1);
    CHECK(outcomes[0].duplicate_of[0].offset == 3);
    REQUIRE(proposals.size() == 1);
    CHECK(proposals[0].waiters.size() == 1);
}

}  // namespace weir::replica::test
