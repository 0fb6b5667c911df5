// Requests with an Idempotency-Key through a whole shard: the answer outlives the process, by the log and by the
// checkpoint.
#include "apply/tables.h"
#include "dedup/index.h"
#include "life.h"
#include "query/answers.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

namespace weir::cluster::test {
namespace {

replica::IngestOutcome ask_with_key(Life& life, std::uint64_t key, const std::string& body) {
    replica::IngestOutcome outcome;
    const auto done = std::make_shared<os::Progress>();
    auto r = life.request(life.stream(), body, [&outcome, done](replica::IngestOutcome&& o) {
        outcome = std::move(o);
        done->advance(1);
    });
    r.key = std::make_unique<replica::RequestKey>();
    r.key->id = {key, 1};
    r.key->answer = [key](const replica::IngestOutcome& o) {
        return std::to_string(key) + ": " + std::to_string(o.accepted) + " of " + std::string(1000, 'a');
    };
    if (!life.shard->submit(std::move(r))) std::abort();
    if (!done->wait_for(1, std::chrono::seconds(60))) std::abort();
    return outcome;
}

std::string kept(Life& life, const replica::IngestOutcome& outcome) {
    REQUIRE(outcome.answered_at >= 0);
    REQUIRE(life.shard->wait_visible(outcome.applied_index, std::chrono::seconds(60)));
    return must(query::read_answer(life.disk, life.shard->data_dir(), life.shard->id(), outcome.answered_at));
}

std::string want(std::uint64_t key, int accepted) {
    return std::to_string(key) + ": " + std::to_string(accepted) + " of " + std::string(1000, 'a');
}

// Every key again, with events that would be new.
void check_all_again(Life& life, std::uint64_t keys) {
    for (std::uint64_t key = 0; key < keys; key++) {
        const auto again = ask_with_key(life, key, event(1'000'000 + key, 1'700'000'000'000));
        CHECK(kept(life, again) == want(key, key % 2 == 0 ? 1 : 0));
    }
    CHECK(life.see_everything());
    CHECK(life.rows("SELECT stored FROM main._counters WHERE stream <> 0") == std::to_string((keys + 1) / 2));
}

}  // namespace

TEST_CASE("answers: admission and apply agree on how long a key is known") {
    const auto statement = must(sql::parse(apply::answers_statement));
    const auto& create = std::get<sql::CreateStream>(statement);
    CHECK(create.schema.dedup_within_ms == log::answers_within_ms);
    CHECK(create.retain_ms == log::answers_retain_ms);
    CHECK(create.schema.partitions == 1);
    // A bucket's last key is known until its end and WITHIN: a sixteenth more, and one until the leader looks.
    CHECK(log::answers_retain_ms > log::answers_within_ms + 2 * dedup::bucket_width_ms(log::answers_within_ms));
}

TEST_CASE("answers: a key's answer is the same after a stop, after a crash, and again") {
    constexpr std::uint64_t keys = 301;
    weir::test::TempDir dir, crashed;
    {
        Life::Start start;
        start.options = Life::small();
        start.options.checkpoint_every_us = no_checkpoint_us;
        Life life(dir.path(), std::move(start));
        life.statement(stream_s);
        for (std::uint64_t key = 0; key < keys; key++) {
            // Every second is a duplicate of the one before.
            const auto first = ask_with_key(life, key, event(key / 2, 1'700'000'000'000));
            CHECK(first.answered_at == -1);
            CHECK(first.accepted == (key % 2 == 0 ? 1u : 0u));
        }
        check_all_again(life, keys);
        CHECK(life.number("weir_idempotent_replays_total") == keys);
        // Nobody sees what they are kept in.
        CHECK(life.catalog->snapshot()->streams.size() == 1);
        CHECK(life.rows("SELECT name FROM main._objects") == "s");
        keep_the_log_alone(dir.path(), crashed.path());
    }
    for (const std::string& path : {dir.path(), crashed.path(), dir.path()}) {
        Life life(path);
        check_all_again(life, keys);
        (void)ask_with_key(life, 9'999, "");
    }
    // A key of a life before, behind the checkpoint, and one that was new in it.
    Life life(dir.path());
    CHECK(kept(life, ask_with_key(life, 9'999, "")) == want(9'999, 0));
    CHECK(kept(life, ask_with_key(life, 300, "")) == want(300, 1));
}

}  // namespace weir::cluster::test
