#include "node/pipe.h"

#include "fake_server.h"

#include <catch2/catch_test_macros.hpp>

#include <vector>

namespace weir::node {
namespace {

std::vector<PipeAnswer> answers_in(const std::string& bytes, std::size_t step, bool& ok) {
    AnswerParser parser;
    std::vector<PipeAnswer> answers;
    ok = true;
    for (std::size_t at = 0; at < bytes.size() && ok; at += step) {
        parser.feed(std::string_view(bytes).substr(at, step));
        for (;;) {
            PipeAnswer answer;
            const auto whole = parser.next(answer);
            ok = whole.has_value();
            if (!ok || !whole.value()) break;
            answers.push_back(answer);
        }
    }
    ok = ok && parser.is_between_answers();
    return answers;
}

TEST_CASE("answers are cut out of any pieces") {
    const std::string bytes =
        "HTTP/1.1 100 Continue\r\n\r\n"
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        "HTTP/1.1 503 Busy\r\ncontent-length: 2\r\nRetry-After: 3\r\nConnection: close\r\n\r\n{}"
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
        "HTTP/1.1 204 No Content\r\n\r\n";
    for (std::size_t step = 1; step <= bytes.size(); ++step) {
        INFO(step);
        bool ok = false;
        const auto answers = answers_in(bytes, step, ok);
        REQUIRE(ok);
        REQUIRE(answers.size() == 4);
        CHECK(answers[0].body == "hello");
        CHECK_FALSE(answers[0].closes);
        CHECK(answers[0].retry_after_s == -1);
        CHECK(answers[1].status == 503);
        CHECK(answers[1].retry_after_s == 3);
        CHECK(answers[1].closes);
        CHECK(answers[2].body == "abcde");
        CHECK(answers[3].status == 204);
    }
}

TEST_CASE("what is not HTTP/1.1 is refused") {
    for (const char* bytes :
         {"SSH-2.0-OpenSSH\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 abc\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
          "HTTP/1.1 200 OK\r\nnocolon\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"}) {
        INFO(bytes);
        bool ok = true;
        answers_in(bytes, 1000, ok);
        CHECK_FALSE(ok);
    }
    AnswerParser endless;
    endless.feed("HTTP/1.1 200 OK\r\n" + std::string(70'000, 'a'));
    PipeAnswer answer;
    CHECK_FALSE(endless.next(answer));
}

TEST_CASE("a request's head names the server and the key") {
    const ServerChoice plain{{"127.0.0.1", 8080, ""}, ""};
    CHECK(request_head(plain, "/v1/x", "text/plain", 3) ==
          "POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\n");
    const ServerChoice proxied{{"::1", 80, "/weir"}, "secret"};
    CHECK(request_head(proxied, "/v1/x", "a/b", 0) ==
          "POST /weir/v1/x HTTP/1.1\r\nHost: [::1]:80\r\nContent-Type: a/b\r\nContent-Length: 0\r\nAuthorization: "
          "Bearer secret\r\n\r\n");
}

TEST_CASE("nobody there is an error that says so") {
    std::uint16_t free_port = 0;
    {
        test::FakeServer gone([](const test::FakeRequest&) { return test::FakeReply(); });
        free_port = gone.choice().address.port;
    }
    const auto made = Pipe::connect({"127.0.0.1", free_port, ""}, 1000);
    REQUIRE_FALSE(made);
    CHECK(made.error().code == Errc::io);
}

}  // namespace
}  // namespace weir::node
