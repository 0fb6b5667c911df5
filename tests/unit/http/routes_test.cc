#include "http/detail/routes.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir::http;

TEST_CASE("match_route") {
    auto f = [](std::string_view method, std::string_view path, int want, std::string_view parameter,
                std::string_view allow) {
        const Match m = match_route(method, path);
        INFO(method << " " << path);
        CHECK((m.route ? static_cast<int>(m.route->id) : -1) == want);
        CHECK(m.parameter == parameter);
        CHECK(m.allow == allow);
    };
    auto id = [](RouteId r) { return static_cast<int>(r); };
    f("POST", "/v1/streams/clicks/events", id(RouteId::ingest), "clicks", "");
    f("GET", "/v1/streams/clicks/events", id(RouteId::events), "clicks", "");
    f("HEAD", "/v1/streams/clicks/events", id(RouteId::events), "clicks", "");
    f("POST", "/v1/streams/a%2Db/events", id(RouteId::ingest), "a-b", "");
    f("GET", "/v1/streams/clicks", id(RouteId::stream), "clicks", "");
    f("GET", "/v1/streams", id(RouteId::streams), "", "");
    f("GET", "/", id(RouteId::home), "", "");
    f("PUT", "/v1/streams/clicks/events", -1, "", "POST, GET, HEAD");
    f("GET", "/v1/sql", -1, "", "POST");
    f("POST", "/livez", -1, "", "GET, HEAD");
    f("TRACE", "/", -1, "", "GET, HEAD");
    f("GET", "/v1/streams/", -1, "", "");
    f("GET", "/v1/streams/a/b", -1, "", "");
    f("POST", "/v1/streams//events", -1, "", "");
    f("POST", "/v1/streams/a/b/events", -1, "", "");
    f("POST", "/v1/streams/%zz/events", -1, "", "");
    f("GET", "/v1/streams/%00", -1, "", "");
    f("GET", "//..%2f..%2fetc/passwd", -1, "", "");
    f("GET", "", -1, "", "");
    f("OPTIONS", "*", -1, "", "");
}
