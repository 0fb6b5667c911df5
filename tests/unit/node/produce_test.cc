#include "node/produce.h"

#include "capture.h"
#include "fake_server.h"
#include "support/packed.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

namespace weir::node {
namespace {

std::int64_t lines_in(const std::string& body) {
    return std::ranges::count(body, '\n');
}

test::FakeReply stored(const test::FakeRequest& request, const std::string& index = "0:1") {
    test::FakeReply reply;
    reply.body = "{\"stream\":\"s\",\"accepted\":" + std::to_string(lines_in(request.body)) +
                 ",\"duplicates\":0,\"rejected\":0,\"errors\":[],\"duplicate_of\":[],\"applied_index\":\"" + index +
                 "\"}";
    return reply;
}

// An unlinked file with `text`, opened for reading.
EventInput input_of(const std::string& text) {
    char path[] = "/tmp/weir-produce-test-XXXXXX";
    const int fd = mkostemp(path, O_CLOEXEC);
    REQUIRE(fd >= 0);
    unlink(path);
    REQUIRE(write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    lseek(fd, 0, SEEK_SET);
    return EventInput::of_descriptor(fd, "test");
}

std::string lines(int count) {
    std::string text;
    for (int i = 0; i < count; ++i)
        text += "{\"n\":" + std::to_string(i) + "}\n";
    return text;
}

struct Ran {
    Exit exit;
    std::string out;
    std::string err;
    std::vector<test::FakeRequest> seen;
    std::string stored;  // bodies that the handler answered 200, in order
};

ProduceOptions quick() {
    ProduceOptions options;
    options.stream = "s";
    options.batch_lines = 10;
    options.json = true;
    options.retry_for_ms = 5'000;
    return options;
}

Ran ran(const std::string& text, const ProduceOptions& options, const test::FakeServer::Handler& handler) {
    std::string kept;
    Ran result{};
    {
        test::FakeServer server([&](const test::FakeRequest& request) {
            test::FakeReply reply = handler(request);
            if (reply.status == 200 && !reply.hang_up_before) kept += request.body;
            return reply;
        });
        test::Capture capture;
        result.exit = run_produce(capture.console, server.choice(), input_of(text), options);
        result.out = capture.out();
        result.err = capture.err();
        result.seen = server.seen();
    }
    result.stored = kept;
    return result;
}

bool says(const std::string& document, const std::string& key, std::int64_t value) {
    const std::string want = "\"" + key + "\":" + std::to_string(value);
    const std::size_t at = document.find(want);
    return at != std::string::npos && (document[at + want.size()] < '0' || document[at + want.size()] > '9');
}

TEST_CASE("everything arrives, in order, in batches") {
    const Ran r = ran(lines(95), quick(), [](const test::FakeRequest& request) { return stored(request, "0:12"); });
    CHECK(r.exit == Exit::ok);
    CHECK(r.stored == lines(95));
    CHECK(r.seen.size() == 10);
    CHECK(r.seen[0].target == "/v1/streams/s/events");
    CHECK(says(r.out, "accepted", 95));
    CHECK(says(r.out, "lines", 95));
    CHECK(says(r.out, "batches", 10));
    CHECK(says(r.out, "bytes", static_cast<std::int64_t>(lines(95).size())));
    CHECK(r.out.find("\"applied_index\":\"0:12\"") != std::string::npos);
    CHECK(r.out.ends_with("}\n"));
}

TEST_CASE("a gzip file that is cut off is a failure, whatever arrived, and half a line is not sent") {
    // Stored, not compressed: where the text is cut is known.
    const std::string out = ::weir::test::gzipped(lines(20), 0);
    const std::size_t half_a_line = out.find("{\"n\":15}") + 3;
    for (const std::size_t kept : {half_a_line, half_a_line + 5, out.size() - 1}) {
        const Ran r =
            ran(out.substr(0, kept), quick(), [](const test::FakeRequest& request) { return stored(request); });
        INFO(kept << r.err);
        CHECK(r.exit == Exit::failed);
        CHECK(r.stored == lines(kept == out.size() - 1 ? 20 : 15));
        CHECK(r.err.find("error: test: the gzip file is cut off\n") != std::string::npos);
    }
    // A broken input wins over rejected lines too.
    const Ran rejected = ran(out.substr(0, half_a_line), quick(), [](const test::FakeRequest&) {
        test::FakeReply reply;
        reply.body = R"({"accepted":1,"duplicates":0,"rejected":9,"errors":[]})";
        return reply;
    });
    CHECK(rejected.exit == Exit::failed);
    CHECK(rejected.err.find("more, reasons not listed here; ask: weir sql 'SELECT") != std::string::npos);
}

TEST_CASE("no events is no failure") {
    const Ran r = ran("\n\n", quick(), [](const test::FakeRequest& request) { return stored(request); });
    CHECK(r.exit == Exit::ok);
    CHECK(r.seen.empty());
    CHECK(says(r.out, "accepted", 0));
}

TEST_CASE("rejected lines: partial, with the file's line numbers and the reasons") {
    const Ran r = ran(lines(20), quick(), [first = true](const test::FakeRequest&) mutable {
        test::FakeReply reply;
        reply.body =
            R"({"accepted":7,"duplicates":1,"rejected":2,"errors":[{"index":3,"code":"malformed_json","message":"no }"},)"
            R"({"index":5,"code":"wrong_type","message":"bytes"}]})";
        if (!first)
            reply.body =
                R"({"accepted":7,"duplicates":0,"rejected":3,"errors":[{"index":0,"code":"wrong_type","message":"bytes"}]})";
        first = false;
        return reply;
    });
    CHECK(r.exit == Exit::partial);
    CHECK(says(r.out, "accepted", 14));
    CHECK(says(r.out, "duplicates", 1));
    CHECK(says(r.out, "rejected", 5));
    CHECK(says(r.out, "malformed_json", 1));
    CHECK(says(r.out, "wrong_type", 2));
    CHECK(says(r.out, "rejected_unlisted", 2));
    CHECK(r.err.find("line 4: malformed_json: no }") != std::string::npos);
    CHECK(r.err.find("line 11: wrong_type: bytes") != std::string::npos);
}

TEST_CASE("everything rejected is a failure") {
    const Ran r = ran(lines(10), quick(), [](const test::FakeRequest&) {
        test::FakeReply reply;
        reply.status = 400;
        reply.body = R"({"accepted":0,"duplicates":0,"rejected":10,"errors":[]})";
        return reply;
    });
    CHECK(r.exit == Exit::failed);
    CHECK(says(r.out, "rejected", 10));
}

TEST_CASE("503: the batch and those behind it are sent again, in order") {
    ProduceOptions options = quick();
    int count = 0;
    const Ran r = ran(lines(60), options, [&](const test::FakeRequest& request) {
        ++count;
        // The third request and all that were on their way with it.
        if (count >= 3 && count <= 6) {
            test::FakeReply busy;
            busy.status = 503;
            busy.headers = "Retry-After: 0\r\n";
            busy.body = R"({"code":"overloaded","detail":"full"})";
            return busy;
        }
        return stored(request);
    });
    CHECK(r.exit == Exit::ok);
    CHECK(r.stored == lines(60));
    CHECK(says(r.out, "accepted", 60));
    CHECK(says(r.out, "resent_batches", 4));
    CHECK(says(r.out, "maybe_twice", 0));
    CHECK(says(r.out, "out_of_order", 0));
}

TEST_CASE("503 in the middle while others behind it are stored: nothing doubles, and it is told") {
    int count = 0;
    const Ran r = ran(lines(40), quick(), [&](const test::FakeRequest& request) {
        if (++count == 2) {
            test::FakeReply busy;
            busy.status = 503;
            busy.headers = "Retry-After: 0\r\n";
            return busy;
        }
        return stored(request);
    });
    CHECK(r.exit == Exit::ok);
    CHECK(says(r.out, "accepted", 40));
    CHECK(r.stored.size() == lines(40).size());
    CHECK(says(r.out, "maybe_twice", 0));
    // Whether others were on their way already is a matter of scheduling; what is counted is what was seen.
    CHECK((says(r.out, "out_of_order", 2) || says(r.out, "out_of_order", 1) || says(r.out, "out_of_order", 0)));
}

TEST_CASE("a cut connection: what is unanswered is sent again, and may be there twice") {
    int count = 0;
    const Ran r = ran(lines(60), quick(), [&](const test::FakeRequest& request) {
        test::FakeReply reply = stored(request);
        if (++count == 3) reply.hang_up_before = true;
        return reply;
    });
    CHECK(r.exit == Exit::ok);
    CHECK(r.stored == lines(60));
    CHECK(says(r.out, "accepted", 60));
    CHECK_FALSE(says(r.out, "maybe_twice", 0));
    CHECK(r.err.find("may be stored twice where the stream has no DEDUP") != std::string::npos);
}

TEST_CASE("Connection: close promises that nothing behind was looked at") {
    int count = 0;
    const Ran r = ran(lines(60), quick(), [&](const test::FakeRequest& request) {
        test::FakeReply reply = stored(request);
        reply.hang_up_after = ++count % 2 == 0;
        return reply;
    });
    CHECK(r.exit == Exit::ok);
    CHECK(r.stored == lines(60));
    CHECK(says(r.out, "maybe_twice", 0));
}

TEST_CASE("504: fate unknown, sent again and told") {
    int count = 0;
    const Ran r = ran(lines(20), quick(), [&](const test::FakeRequest& request) {
        if (++count == 1) {
            test::FakeReply unknown;
            unknown.status = 504;
            unknown.headers = "Retry-After: 0\r\n";
            unknown.body = R"({"code":"outcome_unknown","detail":"?"})";
            return unknown;
        }
        return stored(request);
    });
    CHECK(r.exit == Exit::ok);
    CHECK(says(r.out, "accepted", 20));
    CHECK(says(r.out, "maybe_twice", 10));
}

TEST_CASE("an answer in many pieces") {
    const Ran r = ran(lines(30), quick(), [](const test::FakeRequest& request) {
        test::FakeReply reply = stored(request);
        reply.pieces = 40;
        return reply;
    });
    CHECK(r.exit == Exit::ok);
    CHECK(says(r.out, "accepted", 30));
}

TEST_CASE("a refusal that waiting does not help ends it") {
    int count = 0;
    const Ran r = ran(lines(60), quick(), [&](const test::FakeRequest& request) {
        if (++count == 1) return stored(request);
        test::FakeReply refused;
        refused.status = 404;
        refused.body = R"({"code":"not_found","detail":"no stream s, and new ones are not allowed"})";
        return refused;
    });
    CHECK(r.err.find("50 events have no answer") != std::string::npos);
    CHECK(r.exit == Exit::partial);
    CHECK(says(r.out, "accepted", 10));
    CHECK(says(r.out, "unsent", 50));
    CHECK(r.err.find("no stream s") != std::string::npos);
    const Ran none = ran(lines(60), quick(), [](const test::FakeRequest&) {
        test::FakeReply refused;
        refused.status = 404;
        return refused;
    });
    CHECK(none.exit == Exit::failed);
    CHECK(none.err.find("answered 404 and is not weir") != std::string::npos);
}

TEST_CASE("retries end when nothing moves for --retry-for") {
    ProduceOptions options = quick();
    options.retry_for_ms = 50;
    const Ran r = ran(lines(10), options, [](const test::FakeRequest&) {
        test::FakeReply busy;
        busy.status = 503;
        busy.headers = "Retry-After: 0\r\n";
        busy.body = R"({"code":"overloaded","detail":"the inbox is full"})";
        return busy;
    });
    CHECK(r.exit == Exit::failed);
    CHECK(says(r.out, "unsent", 10));
    CHECK(r.err.find("no progress for") != std::string::npos);
    CHECK(r.err.find("the inbox is full") != std::string::npos);
}

TEST_CASE("nobody there at the start: exit 3 at once") {
    ServerChoice choice;
    {
        test::FakeServer gone([](const test::FakeRequest&) { return test::FakeReply(); });
        choice = gone.choice();
    }
    test::Capture capture;
    CHECK(run_produce(capture.console, choice, input_of(lines(10)), quick()) == Exit::unreachable);
    CHECK(capture.err().find("try: weir serve") != std::string::npos);
    CHECK(says(capture.out(), "unsent", 10));
}

TEST_CASE("lines of a live pipe go out before it ends, and a stop is obeyed") {
    int fds[2];
    int stop[2];
    REQUIRE(pipe(fds) == 0);
    REQUIRE(pipe(stop) == 0);
    REQUIRE(write(fds[1], "{\"a\":1}\nhalf", 12) == 12);
    test::FakeServer server([&](const test::FakeRequest& request) {
        // The pipe is still open: the line came without its company. Now stop.
        CHECK(write(stop[1], "x", 1) == 1);
        return stored(request);
    });
    test::Capture capture;
    ProduceOptions options = quick();
    options.stop_fd = stop[0];
    CHECK(run_produce(capture.console, server.choice(), EventInput::of_descriptor(fds[0], "pipe"), options) ==
          Exit::interrupted);
    CHECK(says(capture.out(), "accepted", 1));
    for (const int fd : {fds[1], stop[0], stop[1]})
        close(fd);
}

TEST_CASE("a terminal sees progress, a file does not") {
    test::FakeServer server([](const test::FakeRequest& request) { return stored(request); });
    test::Capture capture;
    ProduceOptions options = quick();
    options.json = false;
    CHECK(run_produce(capture.console, server.choice(), input_of(lines(5)), options) == Exit::ok);
    CHECK(capture.err().find('\r') == std::string::npos);
    CHECK(capture.out().empty());
    CHECK(capture.err().find("5 accepted, 0 duplicates, 0 rejected") == 0);
}

}  // namespace
}  // namespace weir::node
