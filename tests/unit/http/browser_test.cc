#include "http/detail/browser.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir::http;

TEST_CASE("Host may be an IP literal, localhost or a configured name") {
    const BrowserRules rules({"weir.example", "other:8080"}, {});
    auto f = [&](std::string_view host, bool want) {
        INFO(host);
        CHECK(rules.allows_host(host) == want);
    };
    f("localhost", true);
    f("LOCALHOST:8080", true);
    f("127.0.0.1", true);
    f("10.0.0.7:80", true);
    f("[::1]:8080", true);
    f("[fe80::1]", true);
    f("weir.example", true);
    f("WEIR.example:9999", true);
    f("other:8080", true);
    f("other:8081", false);
    f("", false);
    f("evil.example", false);
    f("localhost.evil.example", false);
    f("127.0.0.1.evil.example", false);
    f("127.0.0.1:80:90", false);
    f("127.0.0.1:x", false);
    f("[::1", false);
    f("[::1]x", false);
    f("[evil]", false);
    f("2130706433", false);
    f("127.1", false);
}

TEST_CASE("A page of another origin is refused") {
    const BrowserRules rules({}, {"https://app.example"});
    auto f = [&](std::string_view origin, std::string_view site, std::string_view mode, bool page, int want) {
        INFO(origin << " " << site << " " << mode);
        RequestHead head;
        head.host = "localhost:8080";
        head.origin = origin;
        head.sec_fetch_site = site;
        head.sec_fetch_mode = mode;
        const auto problem = rules.check(head, page);
        CHECK((problem ? problem->status : 200) == want);
    };
    f("", "", "", false, 200);
    f("http://localhost:8080", "same-origin", "cors", false, 200);
    f("https://LOCALHOST:8080", "", "", false, 200);
    f("", "none", "navigate", false, 200);
    f("http://localhost", "", "", false, 403);
    f("http://localhost:8081", "", "", false, 403);
    f("http://evil.example", "", "", false, 403);
    f("null", "", "", false, 403);
    f("file://localhost:8080", "", "", false, 403);
    f("", "cross-site", "no-cors", false, 403);
    f("", "same-site", "cors", false, 403);
    f("", "cross-site", "navigate", true, 200);
    f("", "cross-site", "navigate", false, 403);
    f("", "cross-site", "no-cors", true, 403);
    f("http://evil.example", "cross-site", "navigate", true, 403);
    f("https://app.example", "cross-site", "cors", false, 200);
}
