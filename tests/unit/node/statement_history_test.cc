#include "node/statement_history.h"

#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>
#include <sys/stat.h>

namespace weir::node {
namespace {

using Entries = std::vector<std::string>;

unsigned mode_of(const std::string& path) {
    struct stat facts {};
    REQUIRE(::stat(path.c_str(), &facts) == 0);
    return facts.st_mode & 0777u;
}

TEST_CASE("what was typed is there the next time, line breaks and backslashes too") {
    const ::weir::test::TempDir dir;
    const std::string path = dir.path() + "/state/weir/sql_history";
    {
        StatementHistory history(path);
        CHECK(history.entries().empty());
        CHECK(history.add("SELECT 1;"));
        CHECK(history.add("SELECT '\\n',\n  2;"));
        CHECK(history.add("SELECT '\\n',\n  2;"));  // the same again is one
        CHECK(history.add(""));
        CHECK(mode_of(path) == 0600);
        CHECK(mode_of(dir.path() + "/state/weir") == 0700);
    }
    CHECK(StatementHistory(path).entries() == Entries{"SELECT 1;", "SELECT '\\n',\n  2;"});
}

TEST_CASE("two sessions at a time keep both") {
    const ::weir::test::TempDir dir;
    StatementHistory one(dir.path() + "/h"), two(dir.path() + "/h");
    CHECK(one.add("a;"));
    CHECK(two.add("b;"));
    CHECK(one.add("c;"));
    CHECK(StatementHistory(dir.path() + "/h").entries() == Entries{"a;", "b;", "c;"});
}

TEST_CASE("it has a bound, in memory and in the file") {
    const ::weir::test::TempDir dir;
    const std::string path = dir.path() + "/h";
    {
        StatementHistory history(path);
        for (std::size_t i = 0; i < 2 * history_entries_max + 5; ++i)
            REQUIRE(history.add("SELECT " + std::to_string(i) + ";"));
        CHECK(history.entries().size() == history_entries_max);
        CHECK(history.add(std::string(history_entry_bytes_max + 1, 'x')));
        CHECK(history.entries().back().size() < 20);
    }
    StatementHistory again(path);
    CHECK(again.entries().size() == history_entries_max);
    CHECK(again.entries().back() == "SELECT 2004;");
    std::ifstream file(path);
    std::string line;
    std::size_t lines = 0;
    while (std::getline(file, line))
        ++lines;
    CHECK(lines == history_entries_max);
    CHECK(mode_of(path) == 0600);
}

TEST_CASE("a file that is none, or somebody else's bytes") {
    const ::weir::test::TempDir dir;
    CHECK(StatementHistory(dir.path()).entries().empty());
    CHECK_FALSE(StatementHistory(dir.path()).add("SELECT 1;"));
    CHECK(StatementHistory("").add("SELECT 1;"));
    const std::string path = dir.path() + "/h";
    std::ofstream(path) << std::string("\xff\\\n\\\\n\n\n") << std::string(1 << 20, 'y') << "\nlast";
    const StatementHistory history(path);
    CHECK(history.entries() == Entries{"\xff\\", "\\n", "last"});
    std::ofstream(path, std::ios::trunc) << std::string(history_file_bytes_max, 'z') << "\nSELECT 1;\n";
    CHECK(StatementHistory(path).entries() == Entries{"SELECT 1;"});
}

TEST_CASE("where it is kept") {
    CHECK(history_path("/state", "/home/u") == "/state/weir/sql_history");
    CHECK(history_path("", "/home/u") == "/home/u/.local/state/weir/sql_history");
    CHECK(history_path("state", "/home/u") == "/home/u/.local/state/weir/sql_history");
    CHECK(history_path("", "").empty());
}

}  // namespace
}  // namespace weir::node
