#include "http/detail/problem.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::http;

TEST_CASE("Every Errc has its status") {
    auto f = [](Errc code, int status, bool retryable) {
        const Problem p = problem_of({code, "d"});
        INFO(errc_name(code));
        CHECK(p.status == status);
        CHECK(p.code == errc_name(code));
        CHECK(p.retryable == retryable);
        CHECK((p.retry_after_s >= 0) == retryable);
        CHECK((status == 503) == retryable);  // 503 always says when to come back
    };
    f(Errc::invalid_argument, 400, false);
    f(Errc::not_found, 404, false);
    f(Errc::already_exists, 409, false);
    f(Errc::conflict, 409, false);
    f(Errc::too_large, 413, false);
    f(Errc::overloaded, 503, true);
    f(Errc::disk_full, 503, true);
    f(Errc::not_leader, 503, true);
    f(Errc::recovering, 503, true);
    f(Errc::building, 503, true);
    f(Errc::timed_out, 504, false);
    f(Errc::deadline, 408, false);
    f(Errc::unauthorised, 401, false);
    f(Errc::forbidden, 403, false);
    f(Errc::unsupported, 400, false);
    f(Errc::corrupt, 500, false);
    f(Errc::io, 500, false);
    f(Errc::cancelled, 503, true);
    f(Errc::shutting_down, 503, true);
}

TEST_CASE("A SQL error says where") {
    auto f = [](std::int64_t position, std::int64_t line, std::int64_t column) {
        const Problem p = sql_problem_of({Errc::invalid_argument, "x", 0, position}, "SELECT\n  a b\n");
        CHECK(p.code == "sql_error");
        CHECK(p.position == position);
        CHECK(p.line == line);
        CHECK(p.column == column);
    };
    f(-1, -1, -1);
    f(0, 1, 1);
    f(6, 1, 7);
    f(7, 2, 1);
    f(11, 2, 5);
    f(500, 3, 1);
}

TEST_CASE("Heads") {
    auto f = [](const Head& head, std::string_view want) {
        std::string out;
        append_head(out, head);
        CHECK(out == want);
    };
    f({.status = 200,
       .content_type = "a/b",
       .length = 3,
       .keep_alive = true,
       .http10 = false,
       .date = {},
       .headers = {}},
      "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 3\r\n\r\n");
    f({.status = 404,
       .content_type = "a/b",
       .length = -1,
       .keep_alive = false,
       .http10 = false,
       .date = "D",
       .headers = "X: y\r\n"},
      "HTTP/1.1 404 Not Found\r\nDate: D\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nX: "
      "y\r\n\r\n");
    f({.status = 204, .content_type = {}, .length = -2, .keep_alive = true, .http10 = true, .date = {}, .headers = {}},
      "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n");
}

TEST_CASE("http_date") {
    CHECK(http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT");
    CHECK(http_date(784'111'777'000) == "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK(http_date(951'782'400'000) == "Tue, 29 Feb 2000 00:00:00 GMT");
    CHECK(http_date(4'102'444'799'999) == "Thu, 31 Dec 2099 23:59:59 GMT");
    CHECK(http_date(-5) == "Thu, 01 Jan 1970 00:00:00 GMT");
}
