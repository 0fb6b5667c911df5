#include "stream/detail/group_key.h"

#include "base/prng.h"
#include "unit/store/batch_builder.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <set>

namespace weir::stream::detail {
namespace {

using store::show;
using store::Value;

std::string encode(const std::vector<Value>& values, std::int64_t window = 0) {
    KeyWriter writer;
    writer.begin(window);
    for (const Value& value : values)
        writer.add_value(value);
    return std::string(writer.key());
}

std::string round_trip(const std::string& key) {
    std::vector<Value> values;
    std::vector<std::string> scratch;
    if (!decode_key(key, values, scratch)) return "broken";
    std::string out;
    for (const Value& value : values)
        out += (out.empty() ? "" : " ") + show(value);
    return out;
}

TEST_CASE("keys of any type come back") {
    CHECK(round_trip(encode({})) == "");
    CHECK(round_trip(encode({Value::null(), Value::of(std::int64_t{-7}), Value::of(1.5)})) == "null -7 1.500000");
    CHECK(round_trip(encode({Value::of(std::string_view("a\0b", 3)), Value::of(std::string_view(""))})) ==
          std::string("'a\0b' ''", 8));
    CHECK(round_trip(encode({Value::of_blob(std::string_view("\0\xff\0", 3))})) == std::string("x'\0\xff\0'", 6));
    for (const std::int64_t v : {INT64_MIN, INT64_MIN + 1, std::int64_t{-1}, std::int64_t{0},
                                 (std::int64_t{1} << 53) + 1, INT64_MAX - 1, INT64_MAX}) {
        CHECK(round_trip(encode({Value::of(v)})) == std::to_string(v));
    }
    KeyWriter writer;
    writer.begin(-3'600'000);
    writer.add_whole(INT64_MIN);
    writer.add_real(-0.0);
    writer.add_null();
    writer.add_text("x");
    CHECK(round_trip(std::string(writer.key())) == "-9223372036854775808 0.000000 null 'x'");
    CHECK(key_window_start(writer.key()) == -3'600'000);
    writer.begin_same_window();
    writer.add_text(std::string(1000, '\0'));
    CHECK(round_trip(std::string(writer.key())) == "'" + std::string(1000, '\0') + "'");
}

TEST_CASE("bytes sort like the window, then the values") {
    const std::vector<std::string> ascending = {encode({Value::of(std::int64_t{9})}, INT64_MIN),
                                                encode({Value::of(std::int64_t{9})}, -1),
                                                encode({Value::null()}, 0),
                                                encode({Value::of(-INFINITY)}),
                                                encode({Value::of(INT64_MIN)}),
                                                encode({Value::of(INT64_MIN + 1)}),
                                                encode({Value::of(-1.5)}),
                                                encode({Value::of(std::int64_t{-1})}),
                                                encode({Value::of(0.0)}),
                                                encode({Value::of(5e-324)}),
                                                encode({Value::of(std::int64_t{1})}),
                                                encode({Value::of(1.5)}),
                                                encode({Value::of(std::int64_t{1} << 53)}),
                                                encode({Value::of((std::int64_t{1} << 53) + 1)}),
                                                encode({Value::of((std::int64_t{1} << 53) + 2)}),
                                                encode({Value::of(INT64_MAX - 1)}),
                                                encode({Value::of(INT64_MAX)}),
                                                encode({Value::of(1e300)}),
                                                encode({Value::of(std::string_view(""))}),
                                                encode({Value::of(std::string_view("\0", 1))}),
                                                encode({Value::of(std::string_view("\0a", 2))}),
                                                encode({Value::of(std::string_view("a"))}),
                                                encode({Value::of(std::string_view("a")), Value::null()}),
                                                encode({Value::of(std::string_view("a\0", 2))}),
                                                encode({Value::of(std::string_view("a\0b", 3))}),
                                                encode({Value::of(std::string_view("ab"))}),
                                                encode({Value::of(std::string_view("\xff"))}),
                                                encode({Value::of_blob(std::string_view(""))}),
                                                encode({Value::null()}, 1),
                                                encode({Value::null()}, INT64_MAX)};
    for (std::size_t i = 1; i < ascending.size(); ++i) {
        INFO(i);
        CHECK(ascending[i - 1] < ascending[i]);
    }
}

TEST_CASE("random numbers sort as they compare") {
    Prng prng(3);
    const auto any = [&]() -> Value {
        const auto bits = static_cast<std::int64_t>(prng.next() >> prng.below(64)) * (prng.chance(0.5) ? 1 : -1);
        return prng.chance(0.5) ? Value::of(bits) : Value::of(static_cast<double>(bits) / (prng.chance(0.5) ? 1 : 8));
    };
    const auto wide = [](const Value& v) -> long double {
        return v.type == store::ValueType::integer ? static_cast<long double>(v.integer)
                                                   : static_cast<long double>(v.real);
    };
    for (int i = 0; i < 20'000; ++i) {
        const Value a = any();
        const Value b = any();
        if (wide(a) != wide(b)) REQUIRE((encode({a}) < encode({b})) == (wide(a) < wide(b)));
    }
}

TEST_CASE("any bytes decode to something or to nothing") {
    Prng prng(9);
    for (int i = 0; i < 20'000; ++i) {
        std::string key(8, 'w');
        for (std::uint64_t n = prng.below(30); n > 0; --n)
            key.push_back(
                "\x05\x10\x11\x12\x20\x30\0\xff"
                "az"[prng.below(10)]);
        (void)round_trip(key);
    }
    CHECK(round_trip("short") == "broken");
    CHECK(round_trip("windowww\x10") == "broken");
    CHECK(round_trip("windowww\x20"
                     "abc") == "broken");
    CHECK(round_trip("windowww\x99") == "broken");
}

TEST_CASE("hashes spread") {
    std::set<std::uint64_t> low;
    for (std::int64_t i = 0; i < 4096; ++i)
        low.insert(hash_key(encode({Value::of(i)})) & 0xffff);
    CHECK(low.size() > 3800);  // 4096 into 65536 by chance: 3971
    CHECK(hash_key("a") != hash_key(std::string_view("a\0", 2)));
}

}  // namespace
}  // namespace weir::stream::detail
