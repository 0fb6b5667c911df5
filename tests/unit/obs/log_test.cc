#include "obs/log.h"

#include <catch2/catch_test_macros.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

using weir::obs::Field;
using weir::obs::format_fields;
using weir::obs::Level;

namespace {

// What `act` writes to stderr.
template <class Act>
std::string stderr_of(Act act) {
    std::FILE* file = std::tmpfile();
    REQUIRE(file != nullptr);
    std::fflush(stderr);
    int saved = dup(2);
    dup2(fileno(file), 2);
    act();
    std::fflush(stderr);
    dup2(saved, 2);
    close(saved);
    std::string out;
    std::rewind(file);
    char block[4096];
    for (std::size_t got = 0; (got = std::fread(block, 1, sizeof block, file)) > 0;)
        out.append(block, got);
    std::fclose(file);
    return out;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size();) {
        std::size_t end = text.find('\n', at);
        if (end == std::string::npos) end = text.size();
        lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

void f(const std::string& value, const std::string& want) {
    INFO("value " << want);
    CHECK(format_fields("event", {{"k", value}}) == "event k=" + want);
}

}  // namespace

TEST_CASE("values are bare where that is unambiguous and quoted elsewhere") {
    f("plain", "plain");
    f("/data/x-1_2.log:7", "/data/x-1_2.log:7");
    f("", "\"\"");
    f("a b", "\"a b\"");
    f("a=b", "\"a=b\"");
    f("{}", "\"{}\"");
    f("%v", "%v");
    f("say \"hi\"", "\"say \\\"hi\\\"\"");
    f("back\\slash", "\"back\\\\slash\"");
}

TEST_CASE("no byte that a terminal or a line reader obeys gets out") {
    f("a\nb", "\"a\\nb\"");
    f("a\r\nb", "\"a\\r\\nb\"");
    f("a\tb", "\"a\\tb\"");
    f("\x1b[31mred", "\"\\x1b[31mred\"");
    f(std::string("nul\0!", 5), "\"nul\\x00!\"");
    f("\x7f", "\"\\x7f\"");
    f("\xc2\x9b"
      "31m",
      "\"\\xc2\\x9b31m\"");                    // U+009B, the 8-bit CSI
    f("\xc2\xa0", "\"\xc2\xa0\"");             // U+00A0: the first that is no control
    f("\xe2\x80\xa8", "\"\\xe2\\x80\\xa8\"");  // U+2028, a line separator
    f("\xe2\x80\xae", "\"\\xe2\\x80\\xae\"");  // U+202E, right to left
    f("\xe2\x80\xaf", "\"\xe2\x80\xaf\"");
}

TEST_CASE("UTF-8 passes and what is not UTF-8 is escaped") {
    f("gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\"");
    f("\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"");
    f("\xff", "\"\\xff\"");
    f("\xc3", "\"\\xc3\"");                    // cut short
    f("\xc0\x80", "\"\\xc0\\x80\"");           // overlong
    f("\xed\xa0\x80", "\"\\xed\\xa0\\x80\"");  // a surrogate
    f("\xf4\x90\x80\x80", "\"\\xf4\\x90\\x80\\x80\"");
}

TEST_CASE("events and keys are escaped like values") {
    CHECK(format_fields("two words", {{"a key", "v"}}) == "\"two words\" \"a key\"=v");
    CHECK(format_fields("a\nb", {}) == "\"a\\nb\"");
}

TEST_CASE("a line over the limit is cut at a character and says so") {
    const std::string longest = format_fields("e", {{"k", std::string(100'000, 'x')}});
    CHECK(longest.size() < weir::obs::log_line_bytes_max);
    CHECK(longest.ends_with("x..."));
    for (std::size_t pad = 0; pad < 5; pad++) {
        std::string umlauts(pad, 'a');
        for (int i = 0; i < 5000; i++)
            umlauts += "\xc3\xbc";
        const std::string cut = format_fields("e", {{"k", umlauts}});
        CHECK(cut.size() < weir::obs::log_line_bytes_max);
        CHECK(cut.ends_with("\xc3\xbc..."));
    }
    CHECK(format_fields("e", {{"k", std::string(100'000, '\n')}}).size() < weir::obs::log_line_bytes_max);
    CHECK(format_fields(std::string(100'000, 'e'), {{"k", "v"}}).size() < weir::obs::log_line_bytes_max);
}

TEST_CASE("a log line has time, level and fields, and ends once") {
    const std::string out = stderr_of([] {
        weir::obs::log(Level::warning, "slow_flush", {{"shard", "0"}, {"path", "a b\n{}%v"}});
    });
    REQUIRE(lines_of(out).size() == 1);
    // 2015-05-17T10:05:04.123Z
    CHECK(out[4] == '-');
    CHECK(out[10] == 'T');
    CHECK(out.substr(23) == "Z warning slow_flush shard=0 path=\"a b\\n{}%v\"\n");
}

TEST_CASE("the longest line keeps to the limit with its time and end") {
    const std::string out = stderr_of([] { weir::obs::log(Level::warning, "e", {{"k", std::string(10'000, 'x')}}); });
    CHECK(out.size() <= weir::obs::log_line_bytes_max);
    CHECK(out.ends_with("...\n"));
}

TEST_CASE("levels below the least are not written") {
    const std::string out = stderr_of([] {
        weir::obs::log(Level::debug, "unseen");
        weir::obs::set_log_level(Level::error);
        weir::obs::log(Level::warning, "unseen");
        weir::obs::log(Level::error, "seen");
        weir::obs::set_log_level(Level::info);
    });
    CHECK(lines_of(out).size() == 1);
    CHECK(out.ends_with(" error seen\n"));
}

TEST_CASE("lines of several threads do not mix") {
    const std::string out = stderr_of([] {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; t++)
            threads.emplace_back([t] {
                for (int i = 0; i < 200; i++)
                    weir::obs::log(Level::info, "line", {{"t", std::string(200, static_cast<char>('a' + t))}});
            });
    });
    const auto lines = lines_of(out);
    REQUIRE(lines.size() == 800);
    for (const std::string& line : lines) {
        const std::string value = line.substr(line.find("t=") + 2);
        CHECK(value == std::string(200, value[0]));
    }
}
