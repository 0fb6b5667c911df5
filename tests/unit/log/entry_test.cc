#include "log/entry.h"

#include "log/committed.h"
#include "record/batch.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <variant>
#include <vector>

namespace weir::log {
namespace {

const ObjectId stream{ShardId(0), LogIndex(17)};

std::string a_batch(std::int64_t base_offset) {
    record::BatchBuilder builder;
    builder.add(1000, "k", "one");
    builder.add(2000, std::nullopt, "two");
    return std::string(builder.finish(base_offset, 1));
}

std::string entry_of(const std::vector<Section>& sections, std::int64_t append_ms = 5) {
    std::string bytes = encode_entry_head(append_ms, static_cast<std::uint32_t>(sections.size()));
    for (const auto& section : sections)
        bytes += encode_section(section);
    return bytes;
}

BatchSection batch_section(const std::string& batch) {
    BatchSection s;
    s.stream = stream;
    s.version = 3;
    s.partition = 2;
    s.count = 2;
    s.base_offset = 40;
    s.min_time_ms = 1000;
    s.max_time_ms = 2000;
    s.fingerprints = {{1, 3}, {5, 7}};
    s.batch = batch;
    return s;
}

}  // namespace

TEST_CASE("an entry's sections come back as they went in") {
    const auto batch = a_batch(40);
    const auto bytes = entry_of(
        {batch_section(batch), CountsSection{stream, 2, 3}, CatalogPut{ObjectKind::view, "v", "CREATE"},
         CatalogDrop{stream}, DefineStream{stream, 4, "s", "CREATE STREAM"}, DefineView{stream, stream, "v", "text"},
         DropStream{stream}, DropView{stream}, Retain{stream, 10, -1, 6}, DropStream{stream, true}},
        1'700'000'000'123);
    const auto entry = decode_entry(bytes);
    REQUIRE(entry.has_value());
    CHECK(entry.value().append_time_ms == 1'700'000'000'123);
    const auto& sections = entry.value().sections;
    REQUIRE(sections.size() == 10);
    const auto& b = std::get<BatchSection>(sections[0]);
    CHECK(b.stream == stream);
    CHECK(b.version == 3);
    CHECK(b.partition == 2);
    CHECK(b.base_offset == 40);
    CHECK(b.fingerprints == std::vector<record::Fingerprint>{{1, 3}, {5, 7}});
    CHECK(b.batch == batch);
    CHECK(std::get<CountsSection>(sections[1]).refused == 3);
    CHECK(std::get<CatalogPut>(sections[2]).kind == ObjectKind::view);
    CHECK(std::get<DefineStream>(sections[4]).version == 4);
    CHECK(std::get<DefineView>(sections[5]).statement == "text");
    CHECK_FALSE(std::get<DropStream>(sections[6]).with_views);
    CHECK(std::get<Retain>(sections[8]).dedup_bucket == 6);
    CHECK(std::get<DropStream>(sections[9]).with_views);
}

TEST_CASE("an entry in pieces reads like its bytes") {
    const auto section = batch_section("");
    const auto batch = a_batch(40);
    auto with = section;
    with.batch = batch;
    EntryBuffer buffer;
    buffer.append_time_ms = 9;
    buffer.owned = {encode_entry_head(9, 2), encode_batch_head(with), batch,
                    encode_section(CountsSection{stream, 1, 0})};
    buffer.parts.resize(2);
    buffer.parts[0].is_batch = true;
    buffer.parts[0].head = 1;
    buffer.parts[0].batch = 2;
    buffer.parts[1].head = 3;
    std::string joined;
    for (const auto& piece : buffer.owned)
        joined += piece;
    const auto from_pieces = decode_entry(buffer);
    const auto from_bytes = decode_entry(joined);
    REQUIRE(from_pieces.has_value());
    REQUIRE(from_bytes.has_value());
    CHECK(std::get<BatchSection>(from_pieces.value().sections[0]).batch ==
          std::get<BatchSection>(from_bytes.value().sections[0]).batch);
    CHECK(std::get<CountsSection>(from_pieces.value().sections[1]).duplicate == 1);
}

TEST_CASE("an entry that is cut or changed anywhere is corrupt or another entry, never a crash") {
    const auto batch = a_batch(0);
    const auto bytes = entry_of({batch_section(batch), CatalogPut{ObjectKind::stream, "name", "statement"}});
    for (std::size_t n = 0; n < bytes.size(); n++) {
        CHECK_FALSE(decode_entry(std::string_view(bytes).substr(0, n)).has_value());
    }
    for (std::size_t at = 0; at < bytes.size(); at++) {
        for (int bit = 0; bit < 8; bit++) {
            auto changed = bytes;
            changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
            (void)decode_entry(changed).has_value();
        }
    }
    CHECK_FALSE(decode_entry(bytes + "x").has_value());
    auto unknown = bytes;
    unknown[16] = 99;  // the first section's type
    const auto refused = decode_entry(unknown);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Errc::corrupt);
    auto version = bytes;
    version[1] = 2;
    CHECK_FALSE(decode_entry(version).has_value());
}

}  // namespace weir::log
