// Idempotency-Key at the door: which key a request has, what is kept of its answer, what a retry gets.
#include "fakes.h"
#include "http/detail/ingest.h"

#include <catch2/catch_test_macros.hpp>

#include <mutex>

using namespace weir;
using namespace weir::http;
using namespace weir::http::test;

namespace {

std::string key(std::string_view text) {
    return "Idempotency-Key: " + std::string(text) + "\r\n";
}

}  // namespace

TEST_CASE("A key is a quoted string or bare text, and says the same either way") {
    auto f = [](std::string_view value, std::string_view want) {
        RequestHead head;
        head.content_type = "application/json";
        head.idempotency_key = value;
        IngestPlan plan;
        const auto problem = plan_ingest(head, "s", plan);
        INFO(value);
        CHECK(problem.has_value() == want.empty());
        if (problem) CHECK(problem->status == 400);
        CHECK(plan.key == want);
    };
    f("abc", "abc");
    f("\"abc\"", "abc");
    f(" \"a\\\"b\\\\c\" ", "a\"b\\c");
    f("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324");
    f("a b", "a b");
    f("\"open", "\"open");
    f(std::string(256, 'k'), std::string(256, 'k'));
    f("", "");
    f("\"\"", "");
    f("\"a\"b\"", "");
    f("\"a\\b\"", "");
    f("\"a\\\"", "");
    f(std::string(257, 'k'), "");
    f("caf\xC3\xA9", "");
    f("a\tb", "");
    RequestHead head;
    head.content_type = "application/json";
    IngestPlan plan;
    CHECK_FALSE(plan_ingest(head, "s", plan));
    CHECK(plan.key.empty());
    head.idempotency_key = "a";
    head.idempotency_key_twice = true;
    CHECK(plan_ingest(head, "s", plan)->status == 400);
}

TEST_CASE("What is kept of an answer is read back as it was, for its own body alone") {
    Answer answer;
    answer.status = 400;
    answer.body = "{\"accepted\":0}\n";
    const record::Fingerprint print{7, 9}, other{7, 11};
    const std::string kept = encode_kept_answer(answer, print);
    const Answer again = replayed_answer(kept, print);
    CHECK(again.status == 400);
    CHECK(again.body == answer.body);
    CHECK(again.headers == "Idempotency-Replayed: true\r\n");
    const Answer reused = replayed_answer(kept, other);
    CHECK(reused.status == 422);
    CHECK(has(reused.body, "idempotency_key_reused"));
    CHECK_FALSE(has(reused.headers, "Idempotency-Replayed"));
    for (const Result<std::string>& bad :
         {Result<std::string>(Error{Errc::not_found, "gone"}), Result<std::string>(std::string("\2") + kept.substr(1)),
          Result<std::string>(kept.substr(0, 18)), Result<std::string>(std::string())}) {
        const Answer later = replayed_answer(bad, print);
        CHECK(later.status == 503);
        CHECK(has(later.headers, "Retry-After: "));
    }
}

TEST_CASE("A request with a key takes it to its shard, with what is to be kept") {
    Door door;
    std::mutex mutex;
    std::vector<record::Fingerprint> ids;
    std::vector<std::string> kept;
    door.catalog.shard.reply = [&](const replica::IngestRequest& r) {
        replica::IngestOutcome o;
        o.accepted = static_cast<std::uint32_t>(r.events->raw.size());
        o.rejected = static_cast<std::uint32_t>(r.events->rejected.size());
        o.applied_index = LogIndex(17);
        std::lock_guard lock(mutex);
        ids.push_back(r.key ? r.key->id : record::Fingerprint{});
        kept.push_back(r.key ? r.key->answer(o) : "");
        return o;
    };
    auto ask = [&](std::string_view stream, std::string_view body, const std::string& fields) {
        return door.ask(post(stream, body, "application/json", fields));
    };
    const Response one = ask("clicks", "{\"event_id\":\"a\"}", key("\"k1\""));
    CHECK(one.status == 200);
    CHECK(one.field("Idempotency-Replayed").empty());
    CHECK(kept[0].substr(kept[0].find('{')) == one.body);  // the very bytes
    ask("clicks", "{\"event_id\":\"b\"}", key("k1"));
    CHECK(ids[0].has_key());
    CHECK(ids[1] == ids[0]);
    CHECK(kept[1].substr(0, 19) != kept[0].substr(0, 19));  // of another body
    ask("clicks", "{\"event_id\":\"a\"}", key("k2"));
    CHECK(ids[2] != ids[0]);
    CHECK(kept[2].substr(0, 19) == kept[0].substr(0, 19));
    ask("checked", "{\"event_id\":\"a\"}", key("k1"));
    CHECK(ids[3] != ids[0]);
    ask("clicks", "{\"event_id\":\"a\"}", "");
    CHECK_FALSE(ids[4].has_key());
    // The fingerprint is of what the body holds, not of how it was sent.
    door.ask(
        post("clicks", gzipped("{\"event_id\":\"a\"}"), "application/json", key("k1") + "Content-Encoding: gzip\r\n"));
    CHECK(kept[5] == kept[0]);
    CHECK(ids[5] == ids[0]);
    const Response rejected = ask("clicks", "nope", key("k9"));
    CHECK(rejected.status == 400);
    CHECK(replayed_answer(kept[6], {}).status == 422);
    CHECK(ask("clicks", "{}", key("")).status == 400);
    CHECK(ask("clicks", "{}", key("a") + key("a")).status == 400);
    CHECK(ids.size() == 7);
}

TEST_CASE("A key whose request is under way is 409, to be asked again") {
    Door door;
    door.catalog.shard.reply = [](const replica::IngestRequest&) {
        replica::IngestOutcome o;
        o.in_progress = true;
        return o;
    };
    Client client = door.client();
    const Response r = client.ask(post("clicks", "{}", "application/json", key("k")));
    CHECK(r.status == 409);
    CHECK(has(r.body, "\"code\":\"idempotency_key_in_use\""));
    CHECK(has(r.body, "\"retryable\":true"));
    CHECK_FALSE(r.field("Retry-After").empty());
    CHECK(client.ask(request("GET", "/livez")).status == 200);
}

TEST_CASE("An answer that cannot be read now is 503, and nothing is said of it") {
    Door door;
    door.catalog.shard.reply = [](const replica::IngestRequest&) {
        replica::IngestOutcome o;
        o.answered_at = 3;
        o.applied_index = LogIndex(5);
        return o;
    };
    const Response no_files = door.ask(post("clicks", "{}", "application/json", key("k")));
    CHECK(no_files.status == 503);
    CHECK(has(no_files.body, "cannot be read now"));
    CHECK_FALSE(no_files.field("Retry-After").empty());
    CHECK(no_files.field("Idempotency-Replayed").empty());
    door.catalog.shard.visible_index = 4;  // its entry is not applied yet
    CHECK(has(door.ask(post("clicks", "{}", "application/json", key("k"))).body, "not applied yet"));
}
