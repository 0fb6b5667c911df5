#include "record/batch.h"

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/prng.h"

#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

using namespace weir;
using namespace weir::record;

namespace {

constexpr std::size_t inflated_max = 1 << 20;

std::string golden(const std::string& name) {
    std::ifstream in(std::string(WEIR_SOURCE_DIR) + "/tests/unit/record/golden/" + name + ".bin", std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    REQUIRE(!bytes.empty());
    return bytes;
}

// What a test expects of one record, with its own copies.
struct Want {
    std::int64_t timestamp_ms;
    std::optional<std::string> key;
    std::optional<std::string> value;
    std::vector<std::pair<std::string, std::optional<std::string>>> headers;
};

std::string event(int i) {
    return "{\"event_id\":\"e" + std::to_string(i) + "\",\"event_type\":\"click\",\"n\":" + std::to_string(i * 1000) +
           "}";
}

// The records that the capture program produced.
std::vector<Want> golden_records() {
    const std::int64_t t = 1431857104000;
    const std::vector<std::pair<std::string, std::optional<std::string>>> headers = {
        {"trace", "abc123"}, {"empty", ""}, {"null", std::nullopt}};
    return {
        {t, std::nullopt, event(0), {}},
        {t + 61001, "user-1", event(1), headers},
        {t - 5000, "user-2", event(2), {}},
        {t + 3 * 61001, std::nullopt, event(3), headers},
        {t + 4 * 61001, "user-4", std::string(300, 'x'), {}},
        {t + 5 * 61001, "user-5", std::nullopt, {}},
    };
}

void check_records(const BatchView& batch, const std::vector<Want>& want) {
    auto records = RecordIterator::open(batch, inflated_max);
    REQUIRE(records);
    RecordIterator it = std::move(records).value();
    Record r;
    for (std::size_t i = 0; i < want.size(); i++) {
        INFO("record " << i);
        auto more = it.next(r);
        REQUIRE(more);
        REQUIRE(more.value());
        CHECK(r.offset == batch.header.base_offset + static_cast<std::int64_t>(i));
        CHECK(r.timestamp_ms == want[i].timestamp_ms);
        CHECK(r.has_key == want[i].key.has_value());
        CHECK(r.key == want[i].key.value_or(""));
        CHECK(r.has_value == want[i].value.has_value());
        CHECK(r.value == want[i].value.value_or(""));
        auto headers = read_headers(r.headers);
        REQUIRE(headers);
        REQUIRE(headers.value().size() == want[i].headers.size());
        for (std::size_t k = 0; k < want[i].headers.size(); k++) {
            CHECK(headers.value()[k].key == want[i].headers[k].first);
            CHECK((headers.value()[k].value.data() != nullptr) == want[i].headers[k].second.has_value());
            CHECK(headers.value()[k].value == want[i].headers[k].second.value_or(""));
        }
    }
    auto more = it.next(r);
    REQUIRE(more);
    CHECK(!more.value());
}

std::string build(const std::vector<Want>& records, std::int64_t base_offset = 0, std::int32_t epoch = 0,
                  Codec codec = Codec::none) {
    BatchBuilder builder;
    builder.reset();
    for (const Want& r : records) {
        std::vector<Header> headers;
        for (const auto& h : r.headers)
            headers.push_back({h.first, h.second ? std::string_view(*h.second) : std::string_view()});
        builder.add(r.timestamp_ms, r.key ? std::optional<std::string_view>(*r.key) : std::nullopt,
                    r.value ? std::string_view(*r.value) : std::string_view(), headers);
    }
    return std::string(builder.finish(base_offset, epoch, codec));
}

BatchView view_of(std::string_view bytes) {
    auto view = read_batch(bytes);
    REQUIRE(view);
    return view.value();
}

template <class T>
void put(std::string& bytes, std::size_t offset, T wire) {
    std::memcpy(bytes.data() + offset, &wire, sizeof wire);
}

std::string with_crc(std::string bytes) {
    put(bytes, offsetof(BatchHeader, crc), beu32(crc32c(0, std::string_view(bytes).substr(21))));
    return bytes;
}

// A batch of hand-made records: for what BatchBuilder never writes.
std::string raw_batch(std::string_view records, std::int32_t count, std::int32_t last_delta) {
    std::string bytes = build({{0, "k", "v", {}}}).substr(0, batch_header_bytes);
    bytes += records;
    put(bytes, offsetof(BatchHeader, batch_length), be32(static_cast<std::int32_t>(bytes.size() - 12)));
    put(bytes, offsetof(BatchHeader, count), be32(count));
    put(bytes, offsetof(BatchHeader, last_offset_delta), be32(last_delta));
    return with_crc(bytes);
}

Errc validate_code(std::string_view bytes, std::size_t max = inflated_max) {
    auto view = read_batch(bytes);
    if (!view) return view.error().code;
    const Status status = validate(view.value(), max);
    REQUIRE(!status);
    return status.error().code;
}

}  // namespace

TEST_CASE("batches that clients wrote are read back record by record") {
    for (const char* name : {"librdkafka_none", "librdkafka_gzip", "librdkafka_snappy", "librdkafka_lz4",
                             "librdkafka_zstd", "librdkafka_idempotent", "snappyjava_snappy"}) {
        INFO(name);
        const std::string bytes = golden(name);
        const BatchView batch = view_of(bytes);
        CHECK(batch.bytes.size() == bytes.size());
        CHECK(batch.header.count == 6);
        CHECK(batch.next_offset() == 6);
        CHECK(batch.header.max_timestamp_ms == 1431857104000 + 5 * 61001);
        CHECK(check_crc(batch));
        CHECK(validate(batch, inflated_max));
        check_records(batch, golden_records());
    }
    CHECK(view_of(golden("librdkafka_gzip")).codec() == Codec::gzip);
    CHECK(view_of(golden("librdkafka_snappy")).codec() == Codec::snappy);
    CHECK(view_of(golden("librdkafka_lz4")).codec() == Codec::lz4);
    CHECK(view_of(golden("librdkafka_zstd")).codec() == Codec::zstd);
    CHECK(view_of(golden("snappyjava_snappy")).codec() == Codec::snappy);
    CHECK(view_of(golden("librdkafka_idempotent")).header.base_sequence == 0);
    CHECK(view_of(golden("librdkafka_idempotent")).header.producer_id >= 0);
}

TEST_CASE("the builder writes the same bytes as librdkafka") {
    CHECK(build(golden_records()) == golden("librdkafka_none"));
}

TEST_CASE("every codec comes back") {
    for (const Codec codec : {Codec::none, Codec::lz4, Codec::zstd}) {
        const std::string bytes = build(golden_records(), 4711, 9, codec);
        const BatchView batch = view_of(bytes);
        CHECK(batch.codec() == codec);
        CHECK(batch.header.base_offset == 4711);
        CHECK(batch.header.leader_epoch == 9);
        CHECK(batch.next_offset() == 4717);
        CHECK(batch.header.producer_id == -1);
        CHECK(validate(batch, inflated_max));
        check_records(batch, golden_records());
        auto it = RecordIterator::open(batch, inflated_max);
        REQUIRE(it);
        CHECK(it.value().inflated() == (codec != Codec::none));
    }
}

TEST_CASE("timestamps at both ends of their range and empty fields come back") {
    const std::vector<Want> records = {{INT64_MAX, "", "", {}},
                                       {INT64_MIN, std::nullopt, std::nullopt, {{"", ""}}},
                                       {0, "k", "v", {}},
                                       {-1, "k", "", {}}};
    const std::string bytes = build(records);
    CHECK(validate(view_of(bytes), inflated_max));
    check_records(view_of(bytes), records);
    CHECK(view_of(bytes).header.base_timestamp_ms == INT64_MAX);
    CHECK(view_of(bytes).header.max_timestamp_ms == INT64_MAX);
}

TEST_CASE("lengths around each step of the varint come back") {
    BatchBuilder builder;
    builder.reset();
    std::vector<Want> records;
    for (const std::size_t n : {0u, 1u, 52u, 56u, 57u, 58u, 63u, 64u, 65u, 8183u, 8191u, 8192u, 300'000u})
        records.push_back({static_cast<std::int64_t>(n), std::string(n, 'k'), std::string(n, 'v'), {}});
    const std::string bytes = build(records);
    CHECK(validate(view_of(bytes), inflated_max));
    check_records(view_of(bytes), records);
}

TEST_CASE("a builder is reused") {
    BatchBuilder builder;
    builder.reset();
    CHECK(builder.empty());
    builder.add(10, std::nullopt, "a");
    builder.add(5, std::nullopt, "b");
    CHECK(builder.count() == 2);
    CHECK(builder.min_timestamp_ms() == 5);
    CHECK(builder.max_timestamp_ms() == 10);
    const std::string first(builder.finish(0, 1));
    CHECK(builder.bytes() == first.size());
    SECTION("finish again with another offset changes only what the CRC does not cover") {
        const std::string second(builder.finish(77, 2));
        CHECK(second.substr(17) == first.substr(17));
        CHECK(view_of(second).header.base_offset == 77);
    }
    SECTION("finish with a codec and without") {
        const std::string packed(builder.finish(0, 1, Codec::zstd));
        CHECK(packed != first);
        CHECK(builder.finish(0, 1) == first);
    }
    SECTION("take gives what finish gave, and the builder is empty") {
        CHECK(builder.take() == first);
        CHECK(builder.empty());
        builder.add(1, "k", "c");
        builder.finish(3, 1, Codec::lz4);
        const std::string taken = builder.take();
        check_records(view_of(taken), {{1, "k", "c", {}}});
    }
    SECTION("reset forgets") {
        builder.reset();
        builder.add(1, "k", "c");
        CHECK(builder.min_timestamp_ms() == 1);
        CHECK(builder.max_timestamp_ms() == 1);
        check_records(view_of(builder.finish(0, 0)), {{1, "k", "c", {}}});
    }
}

TEST_CASE("read_batch takes the batch at the front and refuses broken headers") {
    const std::string good = build(golden_records());
    CHECK(view_of(good + good).bytes.size() == good.size());
    const auto code = [](std::string_view bytes) {
        auto view = read_batch(bytes);
        REQUIRE(!view);
        return view.error().code;
    };
    for (std::size_t n = 0; n < good.size(); n++)
        CHECK(code(std::string_view(good).substr(0, n)) == Errc::corrupt);
    const auto broken = [&](std::size_t offset, auto wire) {
        std::string bytes = good;
        put(bytes, offset, wire);
        return code(bytes);
    };
    CHECK(broken(offsetof(BatchHeader, magic), std::int8_t{1}) == Errc::corrupt);
    CHECK(broken(offsetof(BatchHeader, batch_length), be32(-1)) == Errc::corrupt);
    CHECK(broken(offsetof(BatchHeader, batch_length), be32(48)) == Errc::corrupt);
    CHECK(broken(offsetof(BatchHeader, batch_length), be32(INT32_MAX)) == Errc::corrupt);
    CHECK(broken(offsetof(BatchHeader, batch_length), be32(static_cast<std::int32_t>(good.size() - 11))) ==
          Errc::corrupt);
    CHECK(broken(offsetof(BatchHeader, count), be32(-1)) == Errc::corrupt);
    CHECK(broken(offsetof(BatchHeader, count), be32(INT32_MAX)) == Errc::corrupt);
    CHECK(broken(offsetof(BatchHeader, last_offset_delta), be32(-1)) == Errc::corrupt);
    CHECK(broken(offsetof(BatchHeader, base_offset), be64(INT64_MAX - 5)) == Errc::corrupt);
    std::string edge = good;
    put(edge, offsetof(BatchHeader, base_offset), be64(INT64_MAX - 6));
    CHECK(view_of(edge).next_offset() == INT64_MAX);
    put(edge, offsetof(BatchHeader, batch_length), be32(49));
    put(edge, offsetof(BatchHeader, count), be32(0));
    CHECK(view_of(edge).records().empty());
}

TEST_CASE("every flipped bit behind the CRC is found") {
    const std::string good = build({{5, "k", "value", {}}});
    for (std::size_t i = 17; i < good.size(); i++)
        for (int bit = 0; bit < 8; bit++) {
            std::string bytes = good;
            bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
            auto view = read_batch(bytes);
            if (view) CHECK(!check_crc(view.value()));
        }
}

TEST_CASE("validate refuses what Kafka refuses") {
    const std::string good = build(golden_records());
    const auto attributes = [&](std::int16_t value) {
        std::string bytes = good;
        put(bytes, offsetof(BatchHeader, attributes), be16(value));
        return validate_code(with_crc(bytes));
    };
    CHECK(attributes(0x10) == Errc::unsupported);  // transactional
    CHECK(attributes(0x20) == Errc::unsupported);  // control
    CHECK(attributes(0x40) == Errc::unsupported);  // delete horizon
    CHECK(attributes(5) == Errc::unsupported);     // no such codec
    CHECK(attributes(1) == Errc::corrupt);         // not gzip
    CHECK(attributes(2) == Errc::corrupt);         // not a snappy block
    CHECK(attributes(3) == Errc::corrupt);         // not an LZ4 frame
    CHECK(attributes(4) == Errc::corrupt);         // not a zstd frame

    std::string bad_crc = good;
    bad_crc[17] = static_cast<char>(bad_crc[17] + 1);
    CHECK(validate_code(bad_crc) == Errc::corrupt);

    // length, attributes, timestamp delta, offset delta, key length, value length, value, headers
    const std::string record("\x10\x00\x00\x00\x01\x02v\x00\x00", 9);
    const std::string exact("\x0e\x00\x00\x00\x01\x02v\x00", 8);
    CHECK(validate(view_of(raw_batch(exact, 1, 0)), inflated_max));
    CHECK(validate_code(raw_batch(record, 1, 0)) == Errc::corrupt);         // a byte left over in the record
    CHECK(validate_code(raw_batch(exact + "x", 1, 0)) == Errc::corrupt);    // behind the last record
    CHECK(validate_code(raw_batch("", 0, 0)) == Errc::corrupt);             // no records
    CHECK(validate_code(raw_batch(exact, 1, 1)) == Errc::corrupt);          // count and delta disagree
    CHECK(validate_code(raw_batch(exact + exact, 2, 1)) == Errc::corrupt);  // two records of offset delta 0
    const auto one = [&](const char* bytes, std::size_t n) { return validate_code(raw_batch({bytes, n}, 1, 0)); };
    CHECK(one("\x10\x00\x00\x00\x01\x02v\x00", 8) == Errc::corrupt);              // the record is longer than the batch
    CHECK(one("\x0e\x00\x00\x00\x03\x02v\x00", 8) == Errc::corrupt);              // key length -2
    CHECK(one("\x0e\x00\x00\x00\x01\x20v\x00", 8) == Errc::corrupt);              // value beyond the record
    CHECK(one("\x0e\x00\x00\x02\x01\x02v\x00", 8) == Errc::corrupt);              // offset delta 1
    CHECK(one("\x0e\x00\x00\x01\x01\x02v\x00", 8) == Errc::corrupt);              // offset delta -1
    CHECK(one("\x0e\x00\x00\x00\x01\x02v\x01", 8) == Errc::corrupt);              // header count -1
    CHECK(one("\x0e\x00\x00\x00\x01\x02v\x02", 8) == Errc::corrupt);              // one header, no bytes
    CHECK(one("\x12\x00\x00\x00\x01\x02v\x02\x01\x01", 10) == Errc::corrupt);     // null header key
    CHECK(one("\x01\x00\x00\x00\x01\x02v\x00", 8) == Errc::corrupt);              // record length -1
    CHECK(one("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10) == Errc::corrupt);  // varint beyond 64 bits
    // Longer than needed, but in range: Kafka reads it.
    CHECK(validate(view_of(raw_batch(std::string_view("\x8e\x00\x00\x00\x00\x01\x02v\x00", 9), 1, 0)), inflated_max));
}

TEST_CASE("inflation is bounded") {
    const std::string zeros(500'000, '\0');
    for (const Codec codec : {Codec::none, Codec::lz4, Codec::zstd}) {
        const std::string bytes = build({{0, std::nullopt, zeros, {}}}, 0, 0, codec);
        const BatchView batch = view_of(bytes);
        const std::size_t exact = view_of(build({{0, std::nullopt, zeros, {}}})).records().size();
        CHECK(validate(batch, exact));
        CHECK(validate_code(bytes, exact - 1) == Errc::too_large);
        CHECK(validate_code(bytes, 0) == Errc::too_large);
    }
}

TEST_CASE("a compressed batch with an absurd count is refused before it is walked") {
    std::string bytes = build(golden_records(), 0, 0, Codec::zstd);
    put(bytes, offsetof(BatchHeader, count), be32(INT32_MAX));
    put(bytes, offsetof(BatchHeader, last_offset_delta), be32(INT32_MAX - 1));
    CHECK(validate_code(with_crc(bytes)) == Errc::corrupt);
}

TEST_CASE("random damage to a batch never does harm") {
    Prng prng(1);
    for (const Codec codec : {Codec::none, Codec::lz4, Codec::zstd}) {
        const std::string good = build(golden_records(), 0, 0, codec);
        for (int round = 0; round < 3000; round++) {
            std::string bytes = good;
            for (std::uint64_t n = 1 + prng.below(4); n > 0; n--)
                bytes[prng.below(bytes.size())] = static_cast<char>(prng.next());
            if (prng.chance(0.2)) bytes.resize(prng.below(bytes.size()));
            if (bytes.size() >= batch_header_bytes) bytes = with_crc(bytes);
            auto view = read_batch(bytes);
            if (!view) continue;
            (void)validate(view.value(), inflated_max);
            auto it = RecordIterator::open(view.value(), inflated_max);
            if (!it) continue;
            RecordIterator records = std::move(it).value();
            Record r;
            for (auto more = records.next(r); more && more.value(); more = records.next(r))
                (void)read_headers(r.headers);
        }
    }
}
