#include "query/wire.h"

#include "base/prng.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <string>

using namespace weir;
using namespace weir::query;

namespace {

// The frame that `bytes` are, fed one byte at a time.
Frame only_frame(FrameBuffer& buffer, const std::string& bytes) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        CHECK_FALSE(buffer.next().value().has_value());
        *buffer.room(1) = bytes[i];
        buffer.received(1);
    }
    return buffer.next().value().value();
}

void feed(FrameBuffer& buffer, std::string_view bytes) {
    std::copy(bytes.begin(), bytes.end(), buffer.room(bytes.size()));
    buffer.received(bytes.size());
}

}  // namespace

TEST_CASE("frames: what is written is read") {
    FrameBuffer buffer;
    QueryRequest request;
    request.sql = "SELECT ?";
    request.timeout_ms = 5;
    request.rows_max = 7;
    request.now_ms = -9;
    request.parameters = {{store::ValueType::null, 0, 0, ""},
                          {store::ValueType::integer, INT64_MIN, 0, ""},
                          {store::ValueType::real, 0, -0.5, ""},
                          {store::ValueType::text, 0, 0, "t"},
                          {store::ValueType::blob, 0, 0, std::string("\0b", 2)}};
    request.tables = {{"sys.a", {{"k", "TEXT"}, {"n", "INTEGER"}}, {{request.parameters[3], request.parameters[1]}}},
                      {"sys.b", {{"k", "TEXT"}}, {}}};
    Frame frame = only_frame(buffer, query_frame(request));
    CHECK(frame.type == FrameType::query);
    const QueryRequest query = read_query(frame.body).value();
    CHECK(query.sql == request.sql);
    CHECK(query.timeout_ms == 5);
    CHECK(query.rows_max == 7);
    CHECK(query.now_ms == -9);
    REQUIRE(query.parameters.size() == 5);
    CHECK(query.parameters[1].integer == INT64_MIN);
    CHECK(query.parameters[2].real == -0.5);
    CHECK(query.parameters[3].text == "t");
    CHECK(query.parameters[4].text == std::string("\0b", 2));
    CHECK(query.parameters[4].type == store::ValueType::blob);
    REQUIRE(query.tables.size() == 2);
    CHECK(query.tables[0].name == "sys.a");
    CHECK(query.tables[0].columns == request.tables[0].columns);
    REQUIRE(query.tables[0].rows.size() == 1);
    CHECK(query.tables[0].rows[0][0].text == "t");
    CHECK(query.tables[0].rows[0][1].integer == INT64_MIN);
    CHECK(query.tables[1].rows.empty());

    frame = only_frame(buffer, hello_frame({77, "n1"}));
    CHECK(read_hello(frame.body).value().memory_bytes == 77);
    CHECK(read_hello(frame.body).value().node == "n1");
    frame = only_frame(buffer, columns_frame({{"a", "TEXT"}, {"", ""}}));
    CHECK(read_columns(frame.body).value()[0].type == "TEXT");
    frame = only_frame(buffer, done_frame(LogIndex(9), true));
    CHECK(read_done(frame.body).value().applied == LogIndex(9));
    CHECK(read_done(frame.body).value().truncated);
    frame = only_frame(buffer, error_frame({Errc::not_found, "gone", 2, 17}));
    const Error error = decode_error(frame.body);
    CHECK(error.code == Errc::not_found);
    CHECK(error.detail == "gone");
    CHECK(error.os_errno == 2);
    CHECK(error.position == 17);
}

TEST_CASE("frames: several at once, and what is none") {
    FrameBuffer buffer;
    const std::string two = done_frame(LogIndex(1), false) + done_frame(LogIndex(2), false);
    feed(buffer, two.substr(0, two.size() - 1));
    CHECK(read_done(buffer.next().value().value().body).value().applied == LogIndex(1));
    CHECK_FALSE(buffer.next().value().has_value());
    feed(buffer, two.substr(two.size() - 1));
    CHECK(read_done(buffer.next().value().value().body).value().applied == LogIndex(2));

    for (const std::string_view bad :
         {std::string_view("\0\0\0\0", 4), std::string_view("\1\0\0\0\0", 5), std::string_view("\1\0\0\0\7", 5),
          std::string_view("\xff\xff\xff\xff", 4), std::string_view("\1\0\0\4", 4)}) {
        FrameBuffer fresh;
        feed(fresh, bad);
        CHECK(fresh.next().error().code == Errc::corrupt);
    }
}

TEST_CASE("rows: counted, bounded") {
    std::string body;
    WireWriter writer(body);
    writer.u32(2);
    put_value(writer, store::Value::of(std::int64_t{1}));
    put_value(writer, store::Value::of(std::string_view("x")));
    put_value(writer, store::Value::null());
    put_value(writer, store::Value::of(2.5));
    std::vector<store::Value> values;
    RowsReader rows(body, 2);
    CHECK(rows.next(values).value());
    CHECK(values[1].text == "x");
    CHECK(rows.next(values).value());
    CHECK(values[1].real == 2.5);
    CHECK_FALSE(rows.next(values).value());
    RowsReader wide(body, 3);
    CHECK(wide.next(values).value());
    CHECK(wide.next(values).error().code == Errc::corrupt);
    const std::string longer = body + "x";
    RowsReader trailing(longer, 2);
    (void)trailing.next(values);
    (void)trailing.next(values);
    CHECK(trailing.next(values).error().code == Errc::corrupt);
}

TEST_CASE("any bytes: every reader answers") {
    Prng prng(1);
    for (int round = 0; round < 20'000; ++round) {
        std::string bytes;
        for (std::uint64_t n = prng.below(40); n > 0; --n)
            bytes.push_back(static_cast<char>(prng.below(4) == 0 ? prng.below(256) : prng.below(6)));
        (void)read_hello(bytes);
        (void)read_query(bytes);
        (void)read_columns(bytes);
        (void)read_done(bytes);
        (void)decode_error(bytes);
        RowsReader rows(bytes, 1 + prng.below(3));
        std::vector<store::Value> values;
        for (int i = 0; i < 50; ++i) {
            auto more = rows.next(values);
            if (!more || !more.value()) break;
        }
    }
}
