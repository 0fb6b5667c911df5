#include "node/sql_shell.h"

#include "fake_server.h"

#include <catch2/catch_test_macros.hpp>

#include <signal.h>
#include <unistd.h>

namespace weir::node {
namespace {

TEST_CASE("a question that is answered, refused, cut, or asked of nobody") {
    auto signals = os::StopSignals::take();
    REQUIRE(signals);
    int count = 0;
    test::FakeServer server([&](const test::FakeRequest& request) {
        test::FakeReply reply;
        reply.body = R"({"columns":[],"rows":[],"seen":)" + std::to_string(request.body.size()) + "}";
        reply.pieces = 3;
        if (++count == 2) {
            reply.status = 400;
            reply.body = R"({"status":400,"code":"bad_statement","detail":"no","position":3})";
        }
        if (count == 3) reply.hang_up_before = true;
        if (count == 4) reply.body = "<html>";
        return reply;
    });
    const ServerChoice choice{parse_server(server.url()).value(), "key"};
    const auto ask = [&](const std::string& body) {
        const auto outcome = post_until(choice, "/v1/sql", "application/json", body, 10'000, signals.value());
        REQUIRE(outcome);
        return outcome.value();
    };
    const std::string large(3'000'000, 'x');
    const Client::Outcome good = ask(large);
    CHECK(good.ok());
    CHECK(good.answer.body.find("3000000") != std::string::npos);
    CHECK(server.seen().back().head.find("Authorization: Bearer key\r\n") != std::string::npos);
    const Client::Outcome bad = ask("x");
    CHECK_FALSE(bad.ok());
    CHECK(bad.problem.position == 3);
    CHECK(bad.problem.code == "bad_statement");
    const Client::Outcome cut = ask("x");
    CHECK_FALSE(cut.answered);
    CHECK(cut.problem.exit == Exit::timeout);
    CHECK_FALSE(ask("x").is_weir);
    const auto nobody =
        post_until({parse_server("http://127.0.0.1:1").value(), ""}, "/", "text/plain", "", 1000, signals.value());
    REQUIRE(nobody);
    CHECK(nobody.value().problem.exit == Exit::unreachable);
}

TEST_CASE("a signal ends a question, and the next one is asked as before") {
    auto signals = os::StopSignals::take();
    REQUIRE(signals);
    test::FakeServer server([](const test::FakeRequest&) {
        test::FakeReply reply;
        reply.body = "{}";
        return reply;
    });
    const ServerChoice choice{parse_server(server.url()).value(), ""};
    kill(getpid(), SIGINT);
    const auto cancelled = post_until(choice, "/v1/sql", "application/json", "x", 10'000, signals.value());
    REQUIRE_FALSE(cancelled);
    CHECK(cancelled.error().code == Errc::cancelled);
    const auto next = post_until(choice, "/v1/sql", "application/json", "x", 10'000, signals.value());
    REQUIRE(next);
    CHECK(next.value().ok());
}

}  // namespace
}  // namespace weir::node
