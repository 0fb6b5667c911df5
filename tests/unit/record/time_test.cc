#include "record/time.h"

#include "base/prng.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::record {
namespace {

constexpr std::int64_t day = 86'400'000;

void time_is(std::string_view text, std::int64_t want) {
    INFO(text);
    REQUIRE(parse_rfc3339(text).has_value());
    CHECK(*parse_rfc3339(text) == want);
    CHECK(parse_time_literal(text) == want);
}

void no_time(std::string_view text) {
    INFO(text);
    CHECK_FALSE(parse_rfc3339(text).has_value());
}

void literal_is(std::string_view text, std::int64_t want) {
    INFO(text);
    no_time(text);
    REQUIRE(parse_time_literal(text).has_value());
    CHECK(*parse_time_literal(text) == want);
}

void no_literal(std::string_view text) {
    INFO(text);
    no_time(text);
    CHECK_FALSE(parse_time_literal(text).has_value());
}

TEST_CASE("RFC 3339 is read in all its forms") {
    time_is("1970-01-01T00:00:00Z", 0);
    time_is("1970-01-01t00:00:00z", 0);
    time_is("1970-01-01 00:00:00Z", 0);
    time_is("1969-12-31T23:59:59.999Z", -1);
    time_is("2015-05-17T10:05:04Z", 1'431'857'104'000);
    time_is("2015-05-17T10:05:04.1Z", 1'431'857'104'100);
    time_is("2015-05-17T10:05:04.12Z", 1'431'857'104'120);
    time_is("2015-05-17T10:05:04.123Z", 1'431'857'104'123);
    time_is("2015-05-17T10:05:04.1239999999999999999999999999Z", 1'431'857'104'123);
    time_is("2015-05-17T10:05:04.000999Z", 1'431'857'104'000);
    time_is("2015-05-17T10:05:04+02:00", 1'431'857'104'000 - 7'200'000);
    time_is("2015-05-17T10:05:04-02:30", 1'431'857'104'000 + 9'000'000);
    time_is("2015-05-17T10:05:04.5+23:59", 1'431'857'104'500 - 86'340'000);
    time_is("2015-05-17T10:05:04-00:00", 1'431'857'104'000);
    time_is("2016-12-31T23:59:60Z", 1'483'228'800'000);
    time_is("2017-01-01T00:59:60.5+01:00", 1'483'228'800'500);
}

TEST_CASE("the calendar has leap days where Gregory put them") {
    time_is("2000-02-29T00:00:00Z", 951'782'400'000);
    time_is("2000-03-01T00:00:00Z", 951'782'400'000 + day);
    time_is("2016-02-29T00:00:00Z", 1'456'704'000'000);
    time_is("0000-02-29T00:00:00Z", -62'167'219'200'000 + 59 * day);
    no_time("1900-02-29T00:00:00Z");
    no_time("2100-02-29T00:00:00Z");
    no_time("2015-02-29T00:00:00Z");
    no_time("2016-02-30T00:00:00Z");
    no_time("2015-04-31T00:00:00Z");
    no_time("2015-12-32T00:00:00Z");
    time_is("2015-12-31T00:00:00Z", 1'451'520'000'000);
    time_is("0000-01-01T00:00:00Z", -62'167'219'200'000);
    time_is("0000-01-01T00:00:00+23:59", -62'167'219'200'000 - 86'340'000);
    time_is("9999-12-31T23:59:59.999Z", 253'402'300'799'999);
}

TEST_CASE("what is not RFC 3339 is refused") {
    for (const std::string_view text : {"",
                                        "2015",
                                        "yesterday",
                                        "2015-05-17T10:05:04",
                                        "2015-05-17T24:00:00Z",
                                        "2015-05-17T10:60:00Z",
                                        "2015-05-17T10:05:61Z",
                                        "2015-00-17T10:05:04Z",
                                        "2015-13-17T10:05:04Z",
                                        "2015-05-00T10:05:04Z",
                                        "2015-5-17T10:05:04Z",
                                        "15-05-17T10:05:04Z",
                                        "10000-05-17T10:05:04Z",
                                        "-001-05-17T10:05:04Z",
                                        "+015-05-17T10:05:04Z",
                                        "2015/05/17T10:05:04Z",
                                        "2015-05-17_10:05:04Z",
                                        "2015-05-17T10.05.04Z",
                                        "2015-05-17T10:05:04.Z",
                                        "2015-05-17T10:05:04,5Z",
                                        "2015-05-17T10:05:04ZZ",
                                        "2015-05-17T10:05:04 Z",
                                        "2015-05-17T10:05:04Z ",
                                        " 2015-05-17T10:05:04Z",
                                        "2015-05-17T10:05:04+0200",
                                        "2015-05-17T10:05:04+02",
                                        "2015-05-17T10:05:04+24:00",
                                        "2015-05-17T10:05:04+02:60",
                                        "2015-05-17T10:05:04+2:00",
                                        "2015-05-17T10:05:04+02:000",
                                        "2015-05-17T10:05:04.5",
                                        "2015-05-17T1\xC2\xB2:05:04Z",
                                        "2015-05-17T-1:05:04Z",
                                        "2015-05-17T10:05:+4Z",
                                        "20150517T100504Z",
                                        "2015-W20-7T10:05:04Z"})
        no_time(text);
}

TEST_CASE("SQL literals may leave out the zone, the seconds and the time") {
    literal_is("1970-01-02", day);
    literal_is("2015-05-17", 1'431'820'800'000);
    literal_is("2015-05-17 10:05", 1'431'857'100'000);
    literal_is("2015-05-17T10:05", 1'431'857'100'000);
    literal_is("2015-05-17 10:05:04", 1'431'857'104'000);
    literal_is("2015-05-17 10:05:04.25", 1'431'857'104'250);
    for (const std::string_view text :
         {"", "2015-05", "2015-05-1", "2015-02-29", "2015-05-17 ", "2015-05-17 10", "2015-05-17 10:0",
          "2015-05-17 10:05:", "2015-05-17 10:05:4", "2015-05-17 10:05:04.", "2015-05-17 24:00", "2015-05-17 10:60",
          "2015-05-17 10:05:61", "2015-05-17 10:05Z", "2015-05-17x10:05", "2015-05-17 10:05:04 x", "2015-05-17Z"})
        no_literal(text);
}

TEST_CASE("times are shown with milliseconds in UTC, and read back") {
    CHECK(format_rfc3339(0) == "1970-01-01T00:00:00.000Z");
    CHECK(format_rfc3339(-1) == "1969-12-31T23:59:59.999Z");
    CHECK(format_rfc3339(1'431'857'104'123) == "2015-05-17T10:05:04.123Z");
    CHECK(format_rfc3339(951'782'400'000) == "2000-02-29T00:00:00.000Z");
    CHECK(format_rfc3339(-62'167'219'200'000) == "0000-01-01T00:00:00.000Z");
    CHECK(format_rfc3339(-62'167'219'200'001) == "-62167219200001");
    CHECK(format_rfc3339(253'402'300'799'999) == "9999-12-31T23:59:59.999Z");
    CHECK(format_rfc3339(253'402'300'800'000) == "253402300800000");
    CHECK(format_rfc3339(INT64_MIN) == "-9223372036854775808");
    CHECK(format_rfc3339(INT64_MAX) == "9223372036854775807");

    constexpr std::int64_t first = -62'167'219'200'000, count = 253'402'300'800'000 - first;
    Prng random(7);
    for (int i = 0; i < 20'000; ++i) {
        const std::int64_t ms = first + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(count)));
        if (parse_rfc3339(format_rfc3339(ms)) != ms) FAIL(ms);
    }
    for (std::int64_t ms = first; ms < first + count; ms += day)  // every day, in order
        if (parse_rfc3339(format_rfc3339(ms)) != ms) FAIL(ms);
}

void duration_is(std::string_view text, std::int64_t want) {
    INFO(text);
    REQUIRE(parse_duration_ms(text).has_value());
    CHECK(*parse_duration_ms(text) == want);
}

TEST_CASE("durations are a count and a unit") {
    duration_is("0s", 0);
    duration_is("250ms", 250);
    duration_is("30s", 30'000);
    duration_is("30m", 1'800'000);
    duration_is("1h", 3'600'000);
    duration_is("7d", 7 * day);
    duration_is("1w", 7 * day);
    duration_is("007d", 7 * day);
    duration_is("4611686018427387904ms", std::int64_t{1} << 62);
    for (const std::string_view text :
         {"", "m", "30", "-1s", "+1s", "1.5h", "1 h", " 1h", "1h ", "1h30m", "1M", "1y", "1us", "4611686018427387905ms",
          "4611686018427387904s", "99999999999999999999999999ms", "7625000000000w"})
        CHECK_FALSE(parse_duration_ms(text).has_value());

    CHECK(format_duration(0) == "0s");
    CHECK(format_duration(250) == "250ms");
    CHECK(format_duration(1'500) == "1500ms");
    CHECK(format_duration(60'000) == "1m");
    CHECK(format_duration(90 * 60'000) == "90m");
    CHECK(format_duration(7 * day) == "7d");
    for (const std::int64_t ms : {1LL, 999LL, 1'000LL, 61'000LL, 3'600'000LL, 86'400'000LL, 1LL << 62})
        CHECK(parse_duration_ms(format_duration(ms)) == ms);
}

}  // namespace
}  // namespace weir::record
