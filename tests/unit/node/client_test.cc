#include "node/client.h"

#include "fake_server.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::node {
namespace {

TEST_CASE("server addresses") {
    const auto is = [](const char* text, const char* want) {
        INFO(text);
        const auto got = parse_server(text);
        REQUIRE(got);
        CHECK(got.value().text() == want);
    };
    is("http://127.0.0.1:8080", "http://127.0.0.1:8080");
    is("127.0.0.1:8080/", "http://127.0.0.1:8080");
    is("http://weir.internal", "http://weir.internal:80");
    is("http://[::1]:8080/base/", "http://[::1]:8080/base");
    for (const char* text : {"", "http://", "https://x", "http://a:0", "http://a:b", "http://a/b?c", "http://a b"}) {
        INFO(text);
        CHECK_FALSE(parse_server(text));
    }
}

TEST_CASE("HTTP statuses and codes to exit codes") {
    CHECK(exit_of_http(400, "sql_error") == Exit::failed);
    CHECK(exit_of_http(401, "unauthorised") == Exit::unauthorised);
    CHECK(exit_of_http(404, "not_found") == Exit::not_found);
    CHECK(exit_of_http(409, "already_exists") == Exit::conflict);
    CHECK(exit_of_http(408, "deadline") == Exit::timeout);
    CHECK(exit_of_http(504, "outcome_unknown") == Exit::timeout);
    CHECK(exit_of_http(503, "overloaded") == Exit::failed);
    CHECK(exit_of_http(503, "not_leader") == Exit::conflict);
    CHECK(exit_of_http(503, "disk_full") == Exit::disk);
}

TEST_CASE("problems are read, and other bodies are not weir's") {
    const ServerAddress at{"h", 1, ""};
    const Problem problem = problem_of(at, {404, R"({"code":"not_found","detail":"no stream x","position":7})", -1});
    CHECK(problem.exit == Exit::not_found);
    CHECK(problem.detail == "no stream x");
    CHECK(problem.position == 7);
    CHECK(problem_of(at, {503, R"({"code":"overloaded"})", -1}).detail == "the server answered 503");
    for (const char* body : {"<html>", "", "[]", R"({"detail":"x"})"}) {
        INFO(body);
        CHECK(problem_of(at, {404, body, -1}).detail == "http://h:1 answered 404 and is not weir");
        CHECK(problem_of(at, {404, body, -1}).exit == Exit::failed);  // not "not found"
    }
    CHECK(problem_of(at, {401, "<html>", -1}).exit == Exit::unauthorised);  // a proxy's
    CHECK(problem_of(at, {500, std::string(100'000, '['), -1}).detail.size() < 400);
}

TEST_CASE("a request carries the key and brings the answer back") {
    test::FakeServer server([](const test::FakeRequest& request) {
        test::FakeReply reply;
        reply.status = request.target == "/v1/busy" ? 503 : 200;
        reply.headers = reply.status == 503 ? "Retry-After: 2\r\n" : "";
        reply.body = reply.status == 503 ? R"({"code":"overloaded","detail":"full"})" : "[" + request.body + "]";
        return reply;
    });
    ServerChoice choice = server.choice();
    choice.api_key = "k3y";
    Client client(choice);
    const auto good = client.post("/v1/sql", "text/plain", "SELECT 1");
    REQUIRE(good.ok());
    CHECK(good.answer.body == "[SELECT 1]");
    CHECK(server.seen().front().head.find("Authorization: Bearer k3y\r\n") != std::string::npos);
    const auto busy = client.get("/v1/busy");
    CHECK_FALSE(busy.ok());
    CHECK(busy.answered);
    CHECK(busy.answer.retry_after_s == 2);
    CHECK(busy.problem.code == "overloaded");
}

TEST_CASE("nobody there: exit 3 and the address") {
    ServerChoice choice;
    {
        test::FakeServer gone([](const test::FakeRequest&) { return test::FakeReply(); });
        choice = gone.choice();
    }
    Client client(choice);
    const auto outcome = client.get("/readyz");
    CHECK_FALSE(outcome.answered);
    CHECK(outcome.problem.exit == Exit::unreachable);
    CHECK(outcome.problem.detail.find(choice.address.text()) != std::string::npos);
}

TEST_CASE("escaping in URLs") {
    CHECK(url_escape("a-b._~9") == "a-b._~9");
    CHECK(url_escape("a b/é:+") == "a%20b%2F%C3%A9%3A%2B");
}

}  // namespace
}  // namespace weir::node
