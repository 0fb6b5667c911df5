// Tails over server-sent events: GET /v1/streams/{s}/tail and /v1/views/{v}/tail.
#include "http/detail/tails.h"

#include "live_world.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

using namespace weir;
using namespace weir::http;
using namespace weir::http::test;

namespace {

// "e7" of an event's text.
std::string id_of(const std::string& event) {
    const std::size_t at = event.find("\"event_id\":\"");
    if (at == std::string::npos) return event;
    return event.substr(at + 12, event.find('"', at + 12) - at - 12);
}

std::string ids_of(Client& client, int count) {
    std::string out;
    for (int i = 0; i < count; ++i)
        out += id_of(next_event(client)) + " ";
    return out;
}

std::string counted(int first, int count) {
    std::string out;
    for (int i = first; i < first + count; ++i)
        out += "e" + std::to_string(i) + " ";
    return out;
}

double metric(const Door& door, const char* name) {
    return door.metrics.read(name).value;
}

}  // namespace

TEST_CASE("a tail sends what is there from a place on, says that it is live, and goes on with what comes") {
    LiveWorld w;
    w.append(0, 3);
    w.append(3, 2);
    Client tail = w.tail("/v1/streams/access/tail?from=beginning");
    CHECK(next_event(tail) ==
          "id=0:10:1 {\"cursor\":\"0:10:0\",\"partition\":0,\"offset\":0,\"append_time\":\"1970-01-01T00:00:00.100Z\","
          "\"value\":" +
              query::test::access_event(0, 0).value + "}");
    CHECK(ids_of(tail, 4) == counted(1, 4));
    CHECK(next_event(tail) == "live id=0:12:0 {\"cursor\":\"0:12:0\"}");
    w.append(5, 1);
    CHECK(id_of(next_event(tail)) == "e5");
    w.append(6, 3);
    CHECK(ids_of(tail, 3) == counted(6, 3));
    CHECK(metric(*w.door, "weir_tails") == 1);
    CHECK(metric(*w.door, "weir_tail_events_total") == 9);
    // Nobody is left: the shard need not tell any more.
    CHECK(w.door->catalog.shard.watched());
    { const Client gone = std::move(tail); }
    while (w.door->catalog.shard.watched())
        std::this_thread::yield();
    CHECK(metric(*w.door, "weir_tails") == 0);
}

TEST_CASE("a tail begins at the end, the beginning, a time or a cursor") {
    LiveWorld w;
    w.append(0, 2, 1000);
    w.append(2, 2, 2000);
    w.append(4, 2, 3000);
    const auto first = [&](const std::string& from, const std::string& fields = "") {
        Client tail = w.tail("/v1/streams/access/tail" + from, fields);
        return id_of(next_event(tail));
    };
    CHECK(first("?from=beginning") == "e0");
    CHECK(first("?from=1970-01-01T00:00:02Z") == "e2");
    CHECK(first("?from=1970-01-01T00:00:02.001Z") == "e4");
    CHECK(first("?from=0:11:1") == "e3");
    CHECK(first("?from=0:11:0") == "e2");
    CHECK(first("?from=0:11:2") == "e4");
    CHECK(first("") == "live id=0:13:0 {\"cursor\":\"0:13:0\"}");
    CHECK(first("?from=end") == "live id=0:13:0 {\"cursor\":\"0:13:0\"}");
    CHECK(first("?from=1971-01-01T00:00:00Z") == "live id=0:13:0 {\"cursor\":\"0:13:0\"}");
    CHECK(first("?from=beginning", "Last-Event-ID: 0:12:1\r\n") == "e5");
    CHECK(first("?from=0:99:0") == "live id=0:99:0 {\"cursor\":\"0:99:0\"}");
}

TEST_CASE("what a tail may not say") {
    LiveWorld w;
    const auto f = [&](const std::string& target, int status, std::string_view part, const std::string& fields = "") {
        const Response r = w.door->ask(request("GET", target, fields));
        INFO(target << "\n" << r.head << r.body);
        CHECK(r.status == status);
        CHECK(has(r.body, part));
        CHECK(r.field("Content-Type") == "application/problem+json");
    };
    f("/v1/streams/none/tail", 404, "there is no stream none");
    f("/v1/streams/hourly/tail", 404, "there is no stream hourly");
    f("/v1/streams/%2e%2e/tail", 404, "there is no stream");
    f("/v1/streams/access/tail?from=yesterday", 400, "RFC 3339");
    f("/v1/streams/access/tail?from=1:2:3", 400, "another shard");
    f("/v1/streams/access/tail?limit=3", 400, "unknown parameter limit");
    f("/v1/streams/access/tail?from=%zz", 400, "hex digits");
    f("/v1/streams/access/tail", 400, "RFC 3339", "Last-Event-ID: nonsense\r\n");
    f("/v1/views/none/tail", 404, "there is no view none");
    f("/v1/views/access/tail", 404, "there is no view access");
    f("/v1/views/hourly/tail?where=n>3", 400, "unknown parameter where");
    f("/v1/views/hourly/tail?from=0:1:2", 400, "index");
    f("/v1/views/hourly/tail?from=7:1", 400, "another shard");
    f("/v1/streams/access/tail", 403, "cross_origin", "Origin: https://evil.example\r\n");
    w.door->catalog.shard.is_ready = false;
    f("/v1/streams/access/tail", 503, "recovering");
    w.door->catalog.shard.is_ready = true;
    CHECK(w.door->ask(request("POST", "/v1/streams/access/tail", "", "{}")).status == 405);
    Client head = w.door->client();
    head.send(request("HEAD", "/v1/streams/access/tail"));
    CHECK(head.receive(true).field("Content-Type") == "text/event-stream");
    // The connection is as good as any after a refusal.
    Client again = w.door->client();
    again.send(request("GET", "/v1/streams/none/tail") + request("GET", "/livez"));
    CHECK(again.receive().status == 404);
    CHECK(again.receive().status == 200);
}

TEST_CASE("a tail in HTTP/1.1 is chunks, and the connection goes on behind its end") {
    LiveWorld w;
    Client client = w.door->client();
    client.send(request("GET", "/v1/streams/access/tail"));
    const std::string head = client.read_until("\r\n\r\n");
    CHECK(has(head, "Transfer-Encoding: chunked\r\n"));
    CHECK(has(head, "Cache-Control: no-store\r\n"));
    CHECK(has(client.read_until("\n\n"), "retry: 1000\n:\nid: 0:10:0\n"));
    client.send(request("GET", "/livez"));  // waits
    CHECK(has(client.read_until("\n\n"), "event: live\n"));
    w.door->catalog.set({}, {});
    w.commit();
    const std::string end = client.read_until("0\r\n\r\n");
    CHECK(
        has(end, "event: end\ndata: {\"code\":\"not_found\",\"detail\":\"the stream access was dropped\",\"cursor\":"));
    CHECK(client.receive().status == 200);
}

TEST_CASE("what retention took behind a tail's cursor is said") {
    LiveWorld w;
    w.append(0, 2);
    w.append(2, 2);
    w.append(4, 2);
    w.files.retain(*w.access, 0, 4);
    w.files.commit();
    Client tail = w.tail("/v1/streams/access/tail?from=0:10:1");
    CHECK(next_event(tail) == "skipped {\"events\":3,\"reason\":\"retention\",\"from\":\"0:10:1\"}");
    CHECK(ids_of(tail, 2) == counted(4, 2));
    CHECK(metric(*w.door, "weir_tail_skipped_total") == 3);
    w.files.retain(*w.access, 0, 6);
    w.files.cut_journal(*w.access, 1'000'000);
    w.append(6, 1);
    Client late = w.tail("/v1/streams/access/tail?from=0:10:0");
    CHECK(next_event(late) == "skipped {\"events\":null,\"reason\":\"retention\",\"from\":\"0:10:0\"}");
    CHECK(id_of(next_event(late)) == "e6");
    Client fresh = w.tail("/v1/streams/access/tail?from=beginning");
    CHECK(id_of(next_event(fresh)) == "e6");  // nothing of it was anybody's
}

TEST_CASE("an idle tail beats, with a place that retention does not pass so soon") {
    LiveWorld w;
    Client tail = w.tail("/v1/streams/access/tail");
    CHECK(next_event(tail) == "live id=0:10:0 {\"cursor\":\"0:10:0\"}");
    // Entries of other streams.
    w.files.entry(*w.access, 100, {}, 40);
    w.files.commit();
    w.door->catalog.shard.commit(40, {});
    REQUIRE(w.door->turn_until_heard(tail, 8));
    CHECK(tail.read_until("\n\n") == ":\nid: 0:41:0\n\n");
    REQUIRE(w.door->turn_until_heard(tail, 8));
    CHECK(tail.read_until("\n\n") == ":\nid: 0:41:0\n\n");
}

TEST_CASE("a slow reader lags and reads on from the log: bounded in memory, nothing lost, others are not held up") {
    LiveWorld w;
    constexpr int count = 1500;
    w.append_large(count);
    Client slow = w.tail("/v1/streams/access/tail?from=beginning", "", 4096);
    Client quick = w.tail("/v1/streams/access/tail?from=beginning");
    CHECK(ids_of(quick, count) == counted(0, count));
    CHECK(next_event(quick).starts_with("live "));
    CHECK(metric(*w.door, "weir_tail_events_total") < 2 * count);
    CHECK(metric(*w.door, "weir_tail_unsent_bytes") < 2.0 * (client_unsent_max + tail_page_bytes));
    w.append(count, 1);
    CHECK(id_of(next_event(quick)) == "e" + std::to_string(count));
    CHECK(ids_of(slow, count) == counted(0, count));
}

TEST_CASE("a reader that takes nothing at all for two minutes is let go") {
    LiveWorld w;
    w.append_large(1500);
    const Client stuck = w.tail("/v1/streams/access/tail?from=beginning", "", 4096);
    for (int i = 0; i < 100 && metric(*w.door, "weir_tails") > 0; ++i) {
        w.door->clock.advance_s(50);
        const Client other = w.door->client();  // hears nothing: paces the turning of the clock
        CHECK_FALSE(other.heard(100));
    }
    CHECK(metric(*w.door, "weir_tails") == 0);
    CHECK(metric(*w.door, "weir_tail_events_total") < 1500);
}

TEST_CASE("tails that stand at the same place get the same page, read once") {
    LiveWorld w;
    w.append(0, 1);
    std::vector<Client> tails;
    for (int i = 0; i < 50; ++i) {
        tails.push_back(w.tail("/v1/streams/access/tail?from=beginning"));
        CHECK(id_of(next_event(tails.back())) == "e0");
        CHECK(next_event(tails.back()).starts_with("live "));
    }
    for (int round = 1; round < 20; ++round) {
        w.append(round, 1);
        for (Client& tail : tails)
            CHECK(id_of(next_event(tail)) == "e" + std::to_string(round));
    }
}

TEST_CASE("there are as many tails as there may be") {
    ServerOptions options;
    options.tails_max = 20;
    LiveWorld w(options);
    std::vector<Client> tails;
    const auto open = [&] {
        Client client = w.door->client();
        client.send(request("GET", "/v1/streams/access/tail"));
        return client;
    };
    for (std::size_t i = 0; i < options.tails_max; ++i)
        tails.push_back(open());
    for (Client& tail : tails)
        CHECK(has(tail.read_until("\r\n\r\n"), " 200 "));
    Client more = open();
    const Response r = more.receive();
    CHECK(r.status == 503);
    CHECK(has(r.body, "overloaded"));
    CHECK_FALSE(r.field("Retry-After").empty());
    tails.pop_back();
    while (metric(*w.door, "weir_tails") >= options.tails_max)
        std::this_thread::yield();
    CHECK(has(open().read_until("\r\n\r\n"), " 200 "));
}

TEST_CASE("a tail ends with its place when the server stops or the stream goes") {
    LiveWorld w;
    w.append(0, 1);
    Client tail = w.tail("/v1/streams/access/tail?from=beginning");
    CHECK(id_of(next_event(tail)) == "e0");
    CHECK(next_event(tail).starts_with("live "));
    Client rows = w.tail("/v1/views/hourly/tail?from=end");
    while (!w.door->catalog.shard.watches(w.view_id))
        std::this_thread::yield();
    SECTION("stop") {
        w.door->server->stop(5000);
        CHECK(next_event(tail) ==
              "end {\"code\":\"shutting_down\",\"detail\":\"this node is leaving\",\"cursor\":\"0:11:0\"}");
        CHECK(tail.closed());
        while (!has(next_event(rows), "shutting_down")) {
        }
        CHECK(rows.closed());
    }
    SECTION("drop") {
        auto other = std::make_shared<record::Stream>(*w.access);
        other->id.index = LogIndex(77);  // and made again, under the same name
        w.door->catalog.set({other}, {});
        w.door->catalog.shard.commit(12, {});
        CHECK(has(next_event(tail), "\"detail\":\"the stream access was dropped\""));
        CHECK(tail.closed());
        while (!has(next_event(rows), "the view hourly was dropped")) {
        }
    }
}

TEST_CASE("changes that found no room are looked for") {
    LiveWorld w;
    Client tail = w.tail("/v1/streams/access/tail");
    Client rows = w.tail("/v1/views/hourly/tail?from=end");
    CHECK(next_event(tail).starts_with("live "));
    CHECK(next_event(rows).starts_with("live "));
    // More than the live thread takes at once: keys of a view, 200 MB of them.
    for (int i = 0; i < 100; ++i) {
        log::Changes changes;
        changes.views = {{w.view_id, std::vector<std::string>(2000, std::string(1000, 'k')), false}};
        w.door->catalog.shard.commit(w.files.applied(), std::move(changes));
    }
    w.put_row(1, 5);
    w.append(0, 3);
    CHECK(ids_of(tail, 3) == counted(0, 3));
    w.commit_rows();
    std::string event;
    do {
        event = next_event(rows);
    } while (!has(event, "\"n\":5"));
    CHECK(has(event, "{\"key\":\"6b01\",\"row\":{"));
}

TEST_CASE("a tail of a view: all rows, then changed ones") {
    LiveWorld w;
    for (int i = 1; i <= 3; ++i)
        w.put_row(i, i);
    w.commit_rows();
    Client tail = w.tail("/v1/views/hourly/tail");
    const auto row = [](int i, int n) {
        return "{\"key\":\"" + LiveWorld::hex(i) +
               "\",\"row\":{\"window_start\":\"1970-01-01T01:00:00.000Z\",\"status\":200,\"n\":" + std::to_string(n) +
               "}}";
    };
    CHECK(next_event(tail) == row(1, 1));
    CHECK(next_event(tail) == row(2, 2));
    CHECK(next_event(tail) == "id=0:10 " + row(3, 3));
    CHECK(next_event(tail) == "live id=0:10 {\"index\":\"0:10\"}");
    // A row that changes twice comes once, one that goes comes without values.
    w.put_row(2, 7);
    w.put_row(2, 8);
    w.put_row(4, 4);
    w.remove_row(1);
    w.commit_rows();
    std::vector<std::string> got{next_event(tail), next_event(tail), next_event(tail)};
    CHECK(got.back().starts_with("id=0:11 "));
    got.back().erase(0, 8);
    std::ranges::sort(got);
    CHECK(got == std::vector<std::string>{"{\"key\":\"6b01\",\"row\":null}", row(2, 8), row(4, 4)});
    // Who comes back soon goes on from there.
    { const Client gone = std::move(tail); }
    w.put_row(5, 5);
    w.commit_rows();
    Client again = w.tail("/v1/views/hourly/tail", "Last-Event-ID: 0:11\r\n");
    CHECK(next_event(again) == "id=0:12 " + row(5, 5));
    CHECK(next_event(again) == "live id=0:12 {\"index\":\"0:12\"}");
    // An index that nobody remembers: everything.
    Client old = w.tail("/v1/views/hourly/tail?from=0:3");
    CHECK(next_event(old) == row(2, 8));
    Client end = w.tail("/v1/views/hourly/tail?from=end");
    CHECK(next_event(end) == "live id=0:12 {\"index\":\"0:12\"}");
}

TEST_CASE("a tail of a view that was left behind gets all rows again") {
    LiveWorld w;
    w.put_row(1, 1);
    w.commit_rows();
    Client tail = w.tail("/v1/views/hourly/tail");
    CHECK(has(next_event(tail), "\"n\":1"));
    CHECK(next_event(tail).starts_with("live "));
    w.put_row(2, 2);
    w.commit_rows(true);
    CHECK(next_event(tail) == "resync {}");
    CHECK(has(next_event(tail), "\"n\":1"));
    CHECK(next_event(tail).starts_with("id=0:11 {\"key\":\"6b02\""));
    CHECK(next_event(tail).starts_with("live "));
    CHECK(metric(*w.door, "weir_tail_resyncs_total") == 1);
}

TEST_CASE("rows that change while a snapshot is read are not missed") {
    LiveWorld w;
    // More than a batch, so that the snapshot takes several turns.
    for (int i = 0; i < 1500; ++i)
        w.files.exec("INSERT INTO v0_9 VALUES (x'" + LiveWorld::hex(i / 10) + LiveWorld::hex(i % 10) + "', 3600000, " +
                     std::to_string(i) + ", 1)");
    w.files.commit();
    Client tail = w.tail("/v1/views/hourly/tail", "", 4096);
    std::vector<int> seen(1500, 0);
    const auto read_one = [&] {
        const std::string event = next_event(tail);
        const std::size_t at = event.find("\"status\":");
        if (at != std::string::npos)
            seen[static_cast<std::size_t>(std::stoi(event.substr(at + 9)))] =
                std::stoi(event.substr(event.find("\"n\":") + 4));
        return event;
    };
    for (int i = 0; i < 100; ++i)
        read_one();
    // The first rows are behind the snapshot, the last ones before it.
    log::Changes changes;
    std::vector<std::string> keys;
    for (const int i : {0, 1499}) {
        w.files.exec("UPDATE v0_9 SET c2 = 2 WHERE c1 = " + std::to_string(i));
        const std::string h = LiveWorld::hex(i / 10) + LiveWorld::hex(i % 10);
        std::string key;
        for (std::size_t k = 0; k < h.size(); k += 2)
            key += static_cast<char>(std::stoi(h.substr(k, 2), nullptr, 16));
        keys.push_back(key);
    }
    w.files.entry(*w.access, 60, {});
    w.files.commit();
    changes.views = {{w.view_id, keys, false}};
    w.door->catalog.shard.commit(w.files.applied(), std::move(changes));
    // Where sockets hold the whole snapshot the change comes behind `live`; a change that is missed never comes.
    bool is_live = false;
    while (!is_live || seen[0] != 2 || seen[1499] != 2) {
        const std::string event = read_one();
        REQUIRE(!event.starts_with("(ended)"));
        is_live |= event.starts_with("live ");
        w.door->clock.advance_s(1);
    }
    CHECK(std::ranges::count(seen, 1) == 1498);
}

TEST_CASE("a filtered tail sends what satisfies the expression") {
    LiveWorld w;
    for (int i = 0; i < 10; ++i)
        w.append(3 * i, 3);
    // The fake's expression: offsets that 3 divides, of the partition and range that the statement names.
    std::atomic<int> queries{0};
    w.door->pool.script(
        [&](const query::QueryRequest& request, query::ResultSink& sink) -> Result<query::QuerySummary> {
            ++queries;
            sink.columns({{"0", "INTEGER"}, {"_offset", "INTEGER"}});
            std::size_t at = 0;
            while ((at = request.sql.find("_partition = ", at)) != std::string::npos) {
                const auto number = [&](std::string_view behind) {
                    return std::stoll(request.sql.substr(request.sql.find(behind, at) + behind.size()));
                };
                const std::int64_t partition = number("_partition = "), from = number("_offset >= "),
                                   to = number("_offset < ");
                for (std::int64_t o = from; o < to; ++o)
                    if (o % 3 == 0) sink.row({store::Value::of(partition), store::Value::of(o)});
                at += 13;
            }
            return query::QuerySummary{LogIndex(1), false, 0};
        });
    Client tail = w.tail("/v1/streams/access/tail?from=beginning&where=status+%3D+200");
    for (int i = 0; i < 10; ++i)
        CHECK(id_of(next_event(tail)) == "e" + std::to_string(3 * i));
    CHECK(next_event(tail).starts_with("live "));
    CHECK(has(w.door->pool.last().sql, "AND (status = 200\n)"));
    CHECK(metric(*w.door, "weir_tail_filtered_total") == 20);
    w.append(30, 3);
    CHECK(id_of(next_event(tail)) == "e30");
    const int before = queries;
    w.door->clock.advance_s(1);
    CHECK_FALSE(tail.heard(300));
    CHECK(queries == before);  // nothing came, nothing is asked
}

TEST_CASE("an expression that is none, or takes too much, ends a filtered tail and says so") {
    LiveWorld w;
    w.append(0, 3);
    const auto refuses = [&](Error error, int status, std::string_view part) {
        w.door->pool.script(
            [error](const query::QueryRequest&, query::ResultSink&) -> Result<query::QuerySummary> { return error; });
        const Response r = w.door->ask(request("GET", "/v1/streams/access/tail?where=a%20%3D%201"));
        INFO(r.body);
        CHECK(r.status == status);
        CHECK(has(r.body, part));
    };
    refuses({Errc::not_found, "no such column: a"}, 400, "where: no such column: a");
    refuses({Errc::overloaded, "busy"}, 503, "overloaded");
    CHECK(w.door->ask(request("GET", "/v1/streams/access/tail?where=(")).status == 400);
    while (metric(*w.door, "weir_tails") > 0)
        std::this_thread::yield();
    std::atomic<int> runs{0};
    w.door->pool.script(
        [&](const query::QueryRequest& request, query::ResultSink& sink) -> Result<query::QuerySummary> {
            sink.columns({{"0", "INTEGER"}, {"_offset", "INTEGER"}});
            if (has(request.sql, "_offset < 0")) return query::QuerySummary{LogIndex(1), false, 0};  // the check
            ++runs;
            return Error{Errc::deadline, "the query ran out of time and was killed"};
        });
    Client tail = w.tail("/v1/streams/access/tail?from=beginning&where=hostile(event_id)");
    const std::string end = next_event(tail);
    CHECK(has(end, "end {\"code\":\"deadline\",\"detail\":\"where takes too much for the event at the cursor"));
    CHECK(has(end, "\"cursor\":\"0:0:0\""));
    CHECK(runs > 1);  // smaller steps first
    CHECK(tail.closed());
}

TEST_CASE("line breaks within a value leave it the same JSON") {
    LiveWorld w;
    w.files.entry(*w.access, 100, {{0, {{1, "{\"event_id\":\r\n\"e0\",\n\n\"status\":\r200}"}}}});
    w.commit();
    Client tail = w.tail("/v1/streams/access/tail?from=beginning");
    CHECK(has(next_event(tail), "\"value\":{\"event_id\":\n\"e0\",\n\n\"status\":\n200}}"));
    CHECK(next_event(tail).starts_with("live "));
}
