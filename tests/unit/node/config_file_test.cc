#include "node/config_file.h"

#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>

namespace weir::node {
namespace {

ConfigFile parsed(std::string_view text) {
    Result<ConfigFile> file = parse_config(text, "w.toml");
    if (!file) FAIL(file.error().detail);
    return std::move(file).value();
}

TEST_CASE("every entry knows its section, its kind and its line") {
    const ConfigFile file = parsed(
        "top = true\n"
        "\n"
        "[http]\n"
        "listen = \"h:1\" # comment\n"
        "hosts = [\n"
        "  \"a\",\n"
        "  7,\n"
        "]\n"
        "[a]\n"
        "i = 0x10\n"
        "r = 1.5\n"
        "t = 2024-01-02T03:04:05Z\n"
        "deep.er = 1\n");
    const auto is = [&](std::size_t i, const char* section, const char* key, FileKind kind, const char* text,
                        std::size_t line) {
        REQUIRE(i < file.entries.size());
        const FileEntry& entry = file.entries[i];
        INFO(entry.section << "." << entry.key);
        CHECK(entry.section == section);
        CHECK(entry.key == key);
        CHECK(entry.value.kind == kind);
        CHECK(entry.value.text == text);
        CHECK(entry.value.line == line);
    };
    is(0, "", "top", FileKind::boolean, "true", 1);
    is(1, "http", "listen", FileKind::text, "h:1", 4);
    is(2, "http", "hosts", FileKind::list, "", 5);
    is(3, "a", "i", FileKind::integer, "16", 10);
    is(4, "a", "r", FileKind::real, "1.5", 11);
    is(5, "a", "t", FileKind::time, "2024-01-02T03:04:05Z", 12);
    is(6, "a", "deep", FileKind::table, "", 13);
    CHECK(file.entries.size() == 7);
    REQUIRE(file.entries[2].items.size() == 2);
    CHECK(file.entries[2].items[0].value.text == "a");
    CHECK(file.entries[2].items[1].value.kind == FileKind::integer);
    CHECK(file.entries[2].items[1].value.line == 7);
    REQUIRE(file.sections.size() == 2);
    CHECK(file.sections[0].name == "http");
    CHECK(file.sections[0].line == 3);
}

TEST_CASE("tables in lists, in both of TOML's spellings, and dotted keys") {
    for (const char* text :
         {"[auth]\nkeys = [{ name = \"n\", role = \"r\" }]\n", "auth.keys = [{name=\"n\",role=\"r\"}]\n",
          "[[auth.keys]]\nname = \"n\"\nrole = \"r\"\n"}) {
        INFO(text);
        const ConfigFile file = parsed(text);
        REQUIRE(file.entries.size() == 1);
        CHECK(file.entries[0].section == "auth");
        CHECK(file.entries[0].key == "keys");
        REQUIRE(file.entries[0].items.size() == 1);
        const FileItem& item = file.entries[0].items[0];
        CHECK(item.value.kind == FileKind::table);
        REQUIRE(item.fields.size() == 2);
        const bool name_first = item.fields[0].key == "name";
        CHECK(item.fields[name_first ? 0 : 1].value.text == "n");
        CHECK(item.fields[name_first ? 1 : 0].value.text == "r");
    }
}

TEST_CASE("what is not TOML is told with file, line and column") {
    const auto refused = [](std::string_view text, const char* place) {
        const auto file = parse_config(text, "w.toml");
        REQUIRE_FALSE(file);
        INFO(file.error().detail);
        CHECK(file.error().detail.starts_with(std::string(place) + ": not TOML: "));
    };
    refused("a = 1\nb = n1\n", "w.toml:2:6");
    refused("[http\n", "w.toml:1:6");
    refused("[@]\n", "w.toml:1:2");  // an assertion of the library's
    // Only strings and comments may hold more than ASCII (toml++ does not stand it elsewhere).
    refused("[[\xef\xbf\xbd]]\n", "w.toml:1:3");
    refused("a = 1\nk\u00e9y = 1\n", "w.toml:2:2");
    refused("a = \"\"\"\n\"\"\"\"\"\u00e9 = 1\n", "w.toml:2:6");
    refused("a = \"\\\u00e9\"\n", "w.toml:1:7");
    refused("a = 0\"\u00e9\"\n", "w.toml:1:7");
    refused("\xEF\xBB\xBF\u00e9 = 1\n", "w.toml:1:1");
    CHECK(parsed("# \u00e9\na = \"\u00e9\" # \u00e9 \"\nb = '\u00e9\\' \n\"\u00e9\" = 1\n").entries.size() == 3);
    CHECK(parsed("a = \"\"\"\n\u00e9 \" \\\"\"\" \u00e9\n\"\"\"\"\nb = '''\n\u00e9\\'''\n").entries.size() == 2);
    refused("a = 1\na = 2\n", "w.toml:2:5");
    refused("a = \"\x1b[2J\"\n", "w.toml:1:6");
    refused("a = \"\xff\"\n", "w.toml:1:5");
    refused("a = 99999999999999999999\n", "w.toml:1:25");
    // As deep as a stack would be.
    refused("a = " + std::string(100'000, '['), "w.toml:1:261");
    CHECK(parsed("").entries.empty());
    CHECK(parsed("\xEF\xBB\xBF# only a comment").entries.empty());
}

TEST_CASE("a file that cannot be read says why") {
    const ::weir::test::TempDir dir;
    const auto refused = [](const std::string& path, Errc code, const char* must_say) {
        const auto file = read_config(path);
        REQUIRE_FALSE(file);
        INFO(file.error().detail);
        CHECK(file.error().code == code);
        CHECK(file.error().detail.find(path) != std::string::npos);
        CHECK(file.error().detail.find(must_say) != std::string::npos);
    };
    refused(dir.path() + "/absent.toml", Errc::not_found, "No such file");
    refused(dir.path(), Errc::invalid_argument, "is a folder");
    const std::string large = dir.path() + "/large.toml";
    std::ofstream(large) << std::string(config_bytes_max + 1, '#');
    refused(large, Errc::too_large, "1 MiB");
    const std::string good = dir.path() + "/good.toml";
    std::ofstream(good) << "[node]\nid = \"x\"\n";
    const auto file = read_config(good);
    REQUIRE(file);
    CHECK(file.value().path == good);
    CHECK(file.value().entries.size() == 1);
}

}  // namespace
}  // namespace weir::node
