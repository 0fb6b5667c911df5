#include "node/console.h"

#include "capture.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::node {
namespace {

TEST_CASE("text from outside cannot steer a terminal") {
    CHECK(printable("plain é 漢") == "plain é 漢");
    CHECK(printable("a\tb\nc\r") == "a\\tb\\nc\\r");
    CHECK(printable("\x1b[2J\x7f") == "\\x1b[2J\\x7f");
    CHECK(printable("\xc2\x9b"
                    "31m") == "\\x9b31m");  // CSI as one C1 character
    CHECK(printable("\xc2\xa0") == "\xc2\xa0");
    CHECK(printable("\xc2") == "\xc2");
}

TEST_CASE("columns that a text takes") {
    CHECK(display_width("") == 0);
    CHECK(display_width("abc") == 3);
    CHECK(display_width("é") == 1);
    CHECK(display_width("e\xcc\x81") == 1);  // combining accent
    CHECK(display_width("漢字") == 4);
    CHECK(display_width("😀") == 2);
    CHECK(display_width("\xff\xfe") == 2);  // broken bytes take a place each
    CHECK(display_width("\xe6\xbc") == 2);
}

TEST_CASE("numbers for people") {
    CHECK(people_count(0) == "0");
    CHECK(people_count_of(0, "view") == "0 views");
    CHECK(people_count_of(1, "view") == "1 view");
    CHECK(people_count_of(1000, "view") == "1,000 views");
    CHECK(people_count(999) == "999");
    CHECK(people_count(1000) == "1,000");
    CHECK(people_count(-1234567) == "-1,234,567");
    CHECK(people_count(-999) == "-999");
    CHECK(people_bytes(0) == "0 B");
    CHECK(people_bytes(1023) == "1023 B");
    CHECK(people_bytes(1024) == "1.0 KiB");
    CHECK(people_bytes(12.4 * 1024 * 1024) == "12.4 MiB");
    CHECK(people_duration_ms(0.85) == "850 µs");
    CHECK(people_duration_ms(1.2) == "1.2 ms");
    CHECK(people_duration_ms(1200) == "1.2 s");
    CHECK(people_duration_ms(90'000) == "1 m 30 s");
    CHECK(people_duration_ms(11'040'000) == "3 h 04 m");
}

TEST_CASE("the word that was perhaps meant") {
    const std::vector<std::string> words{"serve", "sql", "produce", "tail"};
    CHECK(nearest("sevre", words) == "serve");
    CHECK(nearest("prodcue", words) == "produce");
    CHECK(nearest("tial", words) == "tail");
    CHECK(nearest("xyzzy", words).empty());
    CHECK(nearest("", words).empty());
    CHECK(nearest(std::string(1000, 's'), words).empty());
}

TEST_CASE("errors go to err with the next step") {
    test::Capture capture;
    capture.console.error("what happened", "weir serve");
    CHECK(capture.err() == "error: what happened\n  try: weir serve\n");
    CHECK(capture.out().empty());
}

}  // namespace
}  // namespace weir::node
