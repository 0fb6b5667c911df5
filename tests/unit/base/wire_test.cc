#include "base/wire.h"

#include <catch2/catch_test_macros.hpp>

#include <limits>

using namespace weir;

TEST_CASE("wire integers have the byte order of their type and no alignment") {
    CHECK(bytes_of(be16(0x0102)) == std::string_view("\x01\x02", 2));
    CHECK(bytes_of(be32(0x01020304)) == std::string_view("\x01\x02\x03\x04", 4));
    CHECK(bytes_of(be64(0x0102030405060708)) == std::string_view("\x01\x02\x03\x04\x05\x06\x07\x08", 8));
    CHECK(bytes_of(le16(0x0102)) == std::string_view("\x02\x01", 2));
    CHECK(bytes_of(le32(0x01020304u)) == std::string_view("\x04\x03\x02\x01", 4));
    CHECK(bytes_of(le64(1)) == std::string_view("\x01\0\0\0\0\0\0\0", 8));
    static_assert(sizeof(be64) == 8 && alignof(be64) == 1);
    for (const std::int64_t v : {INT64_MIN, INT64_C(-1), INT64_C(0), INT64_C(1), INT64_MAX}) {
        CHECK(be64(v) == v);
        CHECK(lei64(v) == v);
    }
    for (const std::int32_t v : {INT32_MIN, -1, 0, INT32_MAX}) {
        CHECK(be32(v) == v);
        CHECK(lei32(v) == v);
    }
    CHECK(beu64(UINT64_MAX) == UINT64_MAX);
}

TEST_CASE("the reader gives back what the writer wrote") {
    std::string out;
    WireWriter w(out);
    w.u8(200);
    w.u16(65'535);
    w.u32(4'000'000'000u);
    w.u64(UINT64_MAX);
    w.i32(-5);
    w.i64(INT64_MIN);
    w.bytes("text");
    w.bytes("");
    w.raw("tail");
    WireReader r(out);
    CHECK(r.u8() == 200);
    CHECK(r.u16() == 65'535);
    CHECK(r.u32() == 4'000'000'000u);
    CHECK(r.u64() == UINT64_MAX);
    CHECK(r.i32() == -5);
    CHECK(r.i64() == INT64_MIN);
    CHECK(r.bytes() == "text");
    CHECK(r.bytes().empty());
    CHECK(r.left() == 4);
    CHECK(r.take(4) == "tail");
    CHECK(r.at_end());
    CHECK(r.ok());
}

TEST_CASE("past the end the reader yields zeros and says so") {
    const auto fails = [](std::string_view in, auto read) {
        WireReader r(in);
        read(r);
        return !r.ok();
    };
    CHECK(fails("", [](WireReader& r) { CHECK(r.u8() == 0); }));
    CHECK(fails("a", [](WireReader& r) { CHECK(r.u16() == 0); }));
    CHECK(fails("abc", [](WireReader& r) { CHECK(r.u32() == 0); }));
    CHECK(fails("abcdefg", [](WireReader& r) { CHECK(r.u64() == 0); }));
    CHECK(fails(std::string_view("\x05\0\0\0abcd", 8), [](WireReader& r) { CHECK(r.bytes().empty()); }));
    CHECK(fails("\xff\xff\xff\xff", [](WireReader& r) { CHECK(r.bytes().empty()); }));
    CHECK(fails("ab", [](WireReader& r) { CHECK(r.take(3).empty()); }));
    WireReader r("ab");
    (void)r.u32();
    CHECK(!r.ok());
    CHECK(r.u8() == 0);  // stays failed, reads nothing more
    CHECK(!r.ok());
    CHECK(WireReader("").at_end());
}
