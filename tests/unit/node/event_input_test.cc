#include "node/event_input.h"

#include "support/packed.h"

#include <catch2/catch_test_macros.hpp>

#include <thread>
#include <unistd.h>
#include <vector>

namespace weir::node {
namespace {

using ::weir::test::gzipped;

// Through a pipe, whose writer is a thread: the bytes may be more than it holds.
struct Fed {
    explicit Fed(std::string bytes) {
        int fds[2];
        REQUIRE(pipe(fds) == 0);
        input = std::make_unique<EventInput>(EventInput::of_descriptor(fds[0], "test"));
        writer = std::thread([fd = fds[1], bytes = std::move(bytes)] {
            for (std::size_t at = 0; at < bytes.size();) {
                const ssize_t n = write(fd, bytes.data() + at, bytes.size() - at);
                if (n <= 0) break;
                at += static_cast<std::size_t>(n);
            }
            close(fd);
        });
    }
    ~Fed() { writer.join(); }
    std::unique_ptr<EventInput> input;
    std::thread writer;
};

std::vector<LineBatch> all_batches(const std::string& bytes, std::int64_t lines_max, std::size_t bytes_max, bool& ok) {
    Fed fed(bytes);
    std::vector<LineBatch> batches;
    ok = true;
    for (;;) {
        while (auto batch = fed.input->take(lines_max, bytes_max, false))
            batches.push_back(*batch);
        if (fed.input->is_at_end()) break;
        if (const Status read = fed.input->read_some(); !read) {
            ok = false;
            while (fed.input->fd() >= 0 && fed.input->has_buffered())
                break;
            break;
        }
    }
    // Lets the writer end.
    char rest[4096];
    while (read(fed.input->fd(), rest, sizeof rest) > 0) {
    }
    return batches;
}

TEST_CASE("lines are cut into batches by number and by bytes") {
    bool ok = false;
    auto batches = all_batches("a\nb\nc\nd\ne", 2, 1000, ok);
    REQUIRE(batches.size() == 3);
    CHECK(batches[0].body == "a\nb\n");
    CHECK(batches[0].first_line == 1);
    CHECK(batches[1].first_line == 3);
    CHECK(batches[2].body == "e");
    CHECK(batches[2].first_line == 5);

    batches = all_batches("aaaa\nbbbb\ncccccccccccccc\nd\n", 100, 10, ok);
    REQUIRE(batches.size() == 3);
    CHECK(batches[0].body == "aaaa\nbbbb\n");
    CHECK(batches[1].body == "cccccccccccccc\n");  // longer than a batch may be: alone
    CHECK(batches[2].body == "d\n");
}

TEST_CASE("blank lines keep the numbering and are no events") {
    bool ok = false;
    const auto batches = all_batches("\n\r\na\n  \nb\n", 100, 1000, ok);
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].events == 2);
    CHECK(batches[0].body == "\n\r\na\n  \nb\n");
}

TEST_CASE("nothing, and nothing but line feeds") {
    bool ok = false;
    CHECK(all_batches("", 10, 10, ok).empty());
    CHECK(ok);
    const auto batches = all_batches("\n\n", 10, 10, ok);
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].events == 0);
}

TEST_CASE("gzip is told by its first bytes; members may follow one another") {
    std::string text;
    for (int i = 0; i < 50'000; ++i)
        text += "{\"line\":" + std::to_string(i) + "}\n";
    for (const std::string& bytes : {gzipped(text), gzipped(text.substr(0, 1000)) + gzipped(text.substr(1000)),
                                     gzipped(text) + std::string(512, '\0'), text}) {
        bool ok = false;
        std::string joined;
        std::int64_t events = 0;
        for (const LineBatch& batch : all_batches(bytes, 1000, 1 << 20, ok)) {
            joined += batch.body;
            events += batch.events;
        }
        CHECK(ok);
        CHECK(events == 50'000);
        CHECK(joined == text);
    }
    bool ok = false;
    CHECK(all_batches(gzipped(""), 10, 10, ok).empty());
    CHECK(ok);
}

TEST_CASE("broken gzip is an error, and what came before it is there") {
    std::string text;
    for (int i = 0; i < 50'000; ++i)
        text += "{\"line\":" + std::to_string(i * 7919 % 10'007) + "}\n";
    const std::string whole = gzipped(text);
    bool ok = true;
    const auto batches = all_batches(whole.substr(0, whole.size() / 2), 1000, 1 << 20, ok);
    CHECK_FALSE(ok);
    CHECK(batches.size() > 5);
    all_batches(whole.substr(0, whole.size() - 1), 1000, 1 << 20, ok);
    CHECK_FALSE(ok);
    all_batches(std::string("\x1f\x8b") + "not gzip at all", 1000, 1 << 20, ok);
    CHECK_FALSE(ok);
    all_batches(whole + "tail", 1000, 1 << 20, ok);
    CHECK_FALSE(ok);
}

TEST_CASE("a quiet pipe gives what it has when asked for less") {
    int fds[2];
    REQUIRE(pipe(fds) == 0);
    EventInput input = EventInput::of_descriptor(fds[0], "test");
    REQUIRE(write(fds[1], "a\nb\nhalf", 8) == 8);
    REQUIRE(input.read_some());
    CHECK_FALSE(input.take(10, 1000, false));
    const auto batch = input.take(10, 1000, true);
    REQUIRE(batch);
    CHECK(batch->body == "a\nb\n");
    CHECK_FALSE(input.take(10, 1000, true));
    close(fds[1]);
    REQUIRE(input.read_some());
    CHECK(input.is_at_end());
    const auto last = input.take(10, 1000, false);
    REQUIRE(last);
    CHECK(last->body == "half");
    CHECK(last->first_line == 3);
}

TEST_CASE("a line that no request may hold is left out and counted") {
    std::string text = "a\n" + std::string(EventInput::line_bytes_max + 1'000'000, 'x') + "\nb\n";
    bool ok = false;
    Fed fed(text);
    std::vector<LineBatch> batches;
    while (true) {
        while (auto batch = fed.input->take(10, 1 << 20, false))
            batches.push_back(*batch);
        if (fed.input->is_at_end()) break;
        REQUIRE(fed.input->read_some());
    }
    (void)ok;
    REQUIRE(batches.size() == 2);
    CHECK(batches[0].body == "a\n");
    CHECK(batches[1].body == "b\n");
    CHECK(batches[1].first_line == 3);
    CHECK(fed.input->too_long() == 1);
    CHECK(fed.input->first_too_long() == 2);
}

TEST_CASE("a file that is not there") {
    const auto opened = EventInput::open("/nonexistent/events.ndjson");
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == Errc::not_found);
}

}  // namespace
}  // namespace weir::node
