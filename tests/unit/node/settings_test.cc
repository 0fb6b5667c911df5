#include "node/settings.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

namespace weir::node {
namespace {

void size_is(const char* text, std::uint64_t want) {
    INFO(text);
    const auto got = parse_size(text);
    REQUIRE(got);
    CHECK(got.value() == want);
}

TEST_CASE("sizes with units") {
    size_is("0", 0);
    size_is("4096", 4096);
    size_is("1KB", 1000);
    size_is("1KiB", 1024);
    size_is("512MiB", 512ull << 20);
    size_is("1.5 GiB", 3ull << 29);
    size_is(" 2GB ", 2'000'000'000);
    size_is("1TiB", 1ull << 40);
    for (const char* text : {"", "MiB", "-1", "1kb", "1 XB", "1e3", "nan", "inf", "5000000TiB", "1MiB2"}) {
        INFO(text);
        CHECK_FALSE(parse_size(text));
    }
}

TEST_CASE("addresses") {
    const auto is = [](const char* text, const char* host, std::uint16_t port) {
        INFO(text);
        const auto got = parse_host_port(text);
        REQUIRE(got);
        CHECK(got.value().host == host);
        CHECK(got.value().port == port);
    };
    is("127.0.0.1:8080", "127.0.0.1", 8080);
    is("localhost:0", "localhost", 0);
    is("[::1]:65535", "::1", 65535);
    for (const char* text :
         {"", "8080", ":8080", "a:", "a:65536", "a:-1", "::1:80", "[::1]", "[]:80", "a b:1", "http://a:1", "a:1x"}) {
        INFO(text);
        CHECK_FALSE(parse_host_port(text));
    }
    for (const char* host : {"127.0.0.1", "127.9.8.7", "::1", "localhost"})
        CHECK(is_loopback(host));
    for (const char* host : {"0.0.0.0", "::", "10.0.0.1", "127.evil.example", "127.0.0.1.example", "example.com", ""}) {
        INFO(host);
        CHECK_FALSE(is_loopback(host));
    }
}

TEST_CASE("defaults hold without a word") {
    const auto loaded = load_settings({}, {});
    REQUIRE(loaded);
    const Settings& s = loaded.value().settings;
    CHECK(s.data_dir == "./weir-data");
    CHECK(s.http_listen == "127.0.0.1:8080");
    CHECK(s.node_id == "n1");
    CHECK(s.memory_bytes == 512ull << 20);
    CHECK(s.dedup_memory_bytes == 128ull << 20);
    CHECK(s.wal_bytes == 1ull << 30);
    CHECK(s.apply_lag_bytes == 1ull << 30);
    CHECK(s.undeclared_streams);
    CHECK_FALSE(s.insecure);
    CHECK(loaded.value().warnings.empty());
    CHECK(loaded.value().effective.size() == setting_records().size());
}

TEST_CASE("every record's default is something that it accepts") {
    for (const SettingRecord& record : setting_records()) {
        INFO(setting_name(record));
        Settings settings;
        CHECK(record.apply(record.default_text, settings));
    }
}

TEST_CASE("a flag wins over the environment, which wins over the default") {
    const auto loaded =
        load_settings({{"--node-id", "left"}}, {{"WEIR_NODE_ID", "right"}, {"WEIR_NODE_DATA_DIR", "/d"}});
    REQUIRE(loaded);
    CHECK(loaded.value().settings.node_id == "left");
    CHECK(loaded.value().settings.data_dir == "/d");
    const auto origin = [&](const char* name) {
        const auto& all = loaded.value().effective;
        return std::string(origin_name(std::ranges::find(all, name, &EffectiveSetting::name)->origin));
    };
    CHECK(origin("node.id") == "flag");
    CHECK(origin("node.data_dir") == "env");
    CHECK(origin("http.listen") == "default");
}

TEST_CASE("values that are lists, words and sizes") {
    const auto loaded = load_settings({}, {{"WEIR_HTTP_HOSTS", "a.example, b.example,"},
                                           {"WEIR_HTTP_ORIGINS", "https://app.example:8443"},
                                           {"WEIR_STREAMS_UNDECLARED", "deny"},
                                           {"WEIR_LIMITS_MEMORY", "1GiB"},
                                           {"WEIR_LIMITS_DEDUP_MEMORY", "1GiB"}});
    REQUIRE(loaded);
    CHECK(loaded.value().settings.http_hosts == std::vector<std::string>{"a.example", "b.example"});
    CHECK(loaded.value().settings.http_origins == std::vector<std::string>{"https://app.example:8443"});
    CHECK_FALSE(loaded.value().settings.undeclared_streams);
    CHECK(loaded.value().settings.dedup_memory_bytes == 1ull << 30);
}

TEST_CASE("a wrong value is refused, and the refusal names its source") {
    const auto refused = [](const TextMap& environment, const char* must_say) {
        const auto loaded = load_settings({}, environment);
        REQUIRE_FALSE(loaded);
        INFO(loaded.error().detail);
        CHECK(loaded.error().detail.find(must_say) != std::string::npos);
    };
    refused({{"WEIR_LIMITS_MEMORY", "lots"}}, "WEIR_LIMITS_MEMORY = \"lots\": expected a size");
    refused({{"WEIR_LIMITS_MEMORY", "63MiB"}}, "at least 64.0 MiB");
    refused({{"WEIR_LIMITS_MEMORY", "64MiB"}, {"WEIR_LIMITS_DEDUP_MEMORY", "65MiB"}}, "larger than WEIR_LIMITS_MEMORY");
    refused({{"WEIR_STREAMS_UNDECLARED", "maybe"}}, "allow or deny");
    refused({{"WEIR_HTTP_ORIGINS", "https://a/b"}}, "without a path");
    refused({{"WEIR_HTTP_HOSTS", "http://a"}}, "host names");
    refused({{"WEIR_NODE_ID", "a b"}}, "expected 1 to 64");
    refused({{"WEIR_INSECURE", "\x1b[2J"}}, "\\x1b[2J");
}

TEST_CASE("an address that others can reach needs the word insecure") {
    CHECK_FALSE(load_settings({{"--http", "0.0.0.0:8080"}}, {}));
    CHECK_FALSE(load_settings({{"--http", "[::]:8080"}}, {}));
    CHECK(load_settings({{"--http", "0.0.0.0:8080"}, {"--insecure", "true"}}, {}));
    CHECK(load_settings({{"--http", "0.0.0.0:8080"}}, {{"WEIR_INSECURE", "true"}}));
    CHECK(load_settings({{"--http", "[::1]:8080"}}, {}));
    const auto refused = load_settings({{"--http", "0.0.0.0:8080"}}, {});
    CHECK(refused.error().detail.find("no API keys") != std::string::npos);
}

TEST_CASE("unknown WEIR_ variables are told, never fatal; foreign ones are not looked at") {
    const auto loaded = load_settings({}, {{"WEIR_HTTP_LISTENN", "x"},
                                           {"WEIR_SERVER", "http://x"},
                                           {"WEIR_API_KEY", "k"},
                                           {"WEIR_TEST_SOMETHING_ELSE_ALTOGETHER", "1"},
                                           {"PATH", "/bin"}});
    REQUIRE(loaded);
    REQUIRE(loaded.value().warnings.size() == 2);
    CHECK(loaded.value().warnings[0] ==
          "unknown variable WEIR_HTTP_LISTENN is ignored (did you mean WEIR_HTTP_LISTEN?)");
    CHECK(loaded.value().warnings[1] == "unknown variable WEIR_TEST_SOMETHING_ELSE_ALTOGETHER is ignored");
}

}  // namespace
}  // namespace weir::node
