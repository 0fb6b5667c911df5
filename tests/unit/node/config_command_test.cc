#include "node/config_command.h"

#include "capture.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

namespace weir::node {
namespace {

const char* const digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

LoadedSettings some_settings() {
    const auto file = parse_config("[node]\nid = \"n2\"\n[http]\nhosts = [\"a\", \"b\"]\n", "w.toml");
    REQUIRE(file);
    auto loaded = load_settings(
        {{"--data", "/a \"b\"\\\x1b"}, {"--insecure", "true"}},
        {{"WEIR_LIMITS_MEMORY", "1024MiB"}, {"WEIR_AUTH_KEYS", std::string("ops:admin:") + digest}}, file.value());
    if (!loaded) FAIL(loaded.error().detail);
    return std::move(loaded).value();
}

std::string printed(const ConfigPrintOptions& options) {
    test::Capture capture;
    CHECK(run_config_print(capture.console, some_settings(), options) == Exit::ok);
    CHECK(capture.err().empty());
    return capture.out();
}

TEST_CASE("print, whole") {
    CHECK(printed({}) ==
          "node.data_dir = \"/a \\\"b\\\"\\\\\\u001b\"\n"
          "node.id = \"n2\"\n"
          "http.listen = \"127.0.0.1:8080\"\n"
          "insecure = true\n"
          "http.hosts = [\"a\", \"b\"]\n"
          "http.origins = []\n"
          "auth.mode = \"keys\"\n"
          "# auth.keys = \"ops:admin\" (name:role; digests are not shown)\n"
          "auth.root_key_file = \"\"\n"
          "limits.memory = \"1GiB\"\n"
          "limits.dedup_memory = \"256MiB\"\n"
          "storage.wal_bytes = \"1GiB\"\n"
          "storage.apply_lag_bytes = \"1GiB\"\n"
          "storage.fsync = \"quorum\"\n"
          "streams.undeclared = \"allow\"\n");
}

TEST_CASE("print --origin says where each value comes from") {
    const std::string text = printed({.origin = true});
    for (const char* line : {"node.id = \"n2\"                              # file w.toml:2\n",
                             "http.listen = \"127.0.0.1:8080\"              # default\n",
                             "insecure = true                             # flag --insecure\n",
                             "limits.memory = \"1GiB\"                      # env WEIR_LIMITS_MEMORY\n"}) {
        INFO(line);
        CHECK(text.find(line) != std::string::npos);
    }
    CHECK(text.find(digest) == std::string::npos);
}

TEST_CASE("what is printed is a file that says the same") {
    for (const bool origin : {false, true}) {
        const auto file = parse_config(printed({.origin = origin}), "p.toml");
        if (!file) FAIL(file.error().detail);
        auto again = load_settings({}, {{"WEIR_AUTH_KEYS", std::string("ops:admin:") + digest}}, file.value());
        if (!again) FAIL(again.error().detail);
        const LoadedSettings first = some_settings();
        for (std::size_t i = 0; i < first.effective.size(); ++i)
            CHECK(again.value().effective[i].value == first.effective[i].value);
    }
}

TEST_CASE("print for programs") {
    CHECK(printed({.format = PrintFormat::csv}).starts_with("key,value,origin,source\n"));
    CHECK(printed({.format = PrintFormat::csv}).find("\nnode.id,n2,file,w.toml:2\n") != std::string::npos);
    const std::string json = printed({.format = PrintFormat::json});
    CHECK(json.starts_with("[\n{\"key\":\"node.data_dir\","));
    CHECK(json.ends_with("}\n]\n"));
    CHECK(json.find("\"origin\":\"env\",\"source\":\"WEIR_LIMITS_MEMORY\"},\n{") != std::string::npos);
    CHECK(std::ranges::count(printed({.format = PrintFormat::ndjson}), '\n') ==
          static_cast<std::ptrdiff_t>(setting_records().size()));
    CHECK(printed({.format = PrintFormat::table}).find("limits.memory") != std::string::npos);
    CHECK(parse_print_format("toml").value() == PrintFormat::toml);
    CHECK_FALSE(parse_print_format("yaml"));
}

TEST_CASE("check says that all is well") {
    test::Capture capture;
    CHECK(run_config_check(capture.console, some_settings(), "w.toml") == Exit::ok);
    CHECK(capture.out().empty());
    CHECK(capture.err() == "good: 2 settings from w.toml, 2 from the environment, 2 from flags, 9 by default\n");
}

}  // namespace
}  // namespace weir::node
