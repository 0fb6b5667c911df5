#include "log/entry.h"

#include "base/check.h"
#include "base/wire.h"
#include "log/committed.h"

#include <cstring>
#include <utility>

namespace weir::log {
namespace {

constexpr std::uint8_t entry_magic = 'E';
constexpr std::uint8_t entry_version = 1;
constexpr std::size_t section_head_bytes = 8;
constexpr std::size_t batch_head_bytes = 8 + 4 + 4 + 4 + 4 + 8 + 8 + 8;

enum class SectionType : std::uint8_t {
    batch = 1,
    counts = 2,
    catalog_put = 3,
    catalog_drop = 4,
    define_stream = 5,
    define_view = 6,
    drop_stream = 7,
    drop_view = 8,
    retain = 9,
    tick = 10,
    flush = 11,
    view_live = 12,
};

SectionType type_of(const Section& section) {
    struct Visitor {
        SectionType operator()(const BatchSection&) const { return SectionType::batch; }
        SectionType operator()(const CountsSection&) const { return SectionType::counts; }
        SectionType operator()(const CatalogPut&) const { return SectionType::catalog_put; }
        SectionType operator()(const CatalogDrop&) const { return SectionType::catalog_drop; }
        SectionType operator()(const DefineStream&) const { return SectionType::define_stream; }
        SectionType operator()(const DefineView&) const { return SectionType::define_view; }
        SectionType operator()(const DropStream&) const { return SectionType::drop_stream; }
        SectionType operator()(const DropView&) const { return SectionType::drop_view; }
        SectionType operator()(const Retain&) const { return SectionType::retain; }
        SectionType operator()(const Tick&) const { return SectionType::tick; }
        SectionType operator()(const Flush&) const { return SectionType::flush; }
        SectionType operator()(const ViewLive&) const { return SectionType::view_live; }
    };
    return std::visit(Visitor{}, section);
}

void write_section_head(WireWriter& out, SectionType type, std::size_t body_bytes) {
    CHECK(body_bytes <= UINT32_MAX);
    out.u8(static_cast<std::uint8_t>(type));
    out.u8(0);
    out.u16(0);
    out.u32(static_cast<std::uint32_t>(body_bytes));
}

void write_body(WireWriter& out, const Section& section) {
    struct Visitor {
        WireWriter& out;
        void operator()(const BatchSection&) const { CHECK(false); }  // has its own writer
        void operator()(const CountsSection& s) const {
            out.u64(s.stream.packed());
            out.u64(s.duplicate);
            out.u64(s.refused);
        }
        void operator()(const CatalogPut& s) const {
            out.u8(static_cast<std::uint8_t>(s.kind));
            out.bytes(s.name);
            out.bytes(s.statement);
        }
        void operator()(const CatalogDrop& s) const { out.u64(s.id.packed()); }
        void operator()(const DefineStream& s) const {
            out.u64(s.id.packed());
            out.u32(s.version);
            out.bytes(s.name);
            out.bytes(s.statement);
        }
        void operator()(const DefineView& s) const {
            out.u64(s.id.packed());
            out.u64(s.stream.packed());
            out.bytes(s.name);
            out.bytes(s.statement);
        }
        void operator()(const DropStream& s) const {
            out.u64(s.id.packed());
            if (s.with_views) out.u8(1);
        }
        void operator()(const DropView& s) const { out.u64(s.id.packed()); }
        void operator()(const Retain& s) const {
            out.u64(s.stream.packed());
            out.i64(s.appended_before_ms);
            out.i64(s.bytes_kept);
            out.i64(s.dedup_bucket);
            out.u32(s.version);
        }
        void operator()(const Tick& s) const { out.u64(s.stream.packed()); }
        void operator()(const Flush& s) const { out.u64(s.view.packed()); }
        void operator()(const ViewLive& s) const { out.u64(s.view.packed()); }
    };
    std::visit(Visitor{out}, section);
}

// `batch`: the batch's bytes where they stand apart from the head; null: they follow it.
Result<BatchSection> read_batch_section(WireReader& in, const std::string* batch) {
    BatchSection s;
    s.stream = ObjectId::from_packed(in.u64());
    s.version = in.u32();
    s.partition = in.i32();
    s.count = in.u32();
    const std::uint32_t ids = in.u32();
    s.base_offset = in.i64();
    s.min_time_ms = in.i64();
    s.max_time_ms = in.i64();
    if (!in.ok() || s.count == 0 || s.base_offset < 0 || s.partition < dead_letter_partition ||
        (ids != 0 && ids != s.count)) {
        return Error{Errc::corrupt, "a batch section of an entry has an impossible head"};
    }
    const auto id_bytes = in.take(std::size_t{ids} * 16);
    if (!in.ok()) return Error{Errc::corrupt, "a batch section of an entry is cut in its fingerprints"};
    s.fingerprints.resize(ids);
    for (std::uint32_t i = 0; i < ids; i++) {
        le64 hi, lo;
        std::memcpy(&hi, id_bytes.data() + std::size_t{i} * 16, 8);
        std::memcpy(&lo, id_bytes.data() + std::size_t{i} * 16 + 8, 8);
        s.fingerprints[i] = {hi, lo};
    }
    s.batch = batch != nullptr ? std::string_view(*batch) : in.take(in.left());
    if (s.batch.empty()) return Error{Errc::corrupt, "a batch section of an entry has no batch"};
    return s;
}

Result<Section> read_body(SectionType type, std::string_view body) {
    WireReader in(body);
    auto whole = [&in](Section section) -> Result<Section> {
        if (!in.ok() || !in.at_end()) return Error{Errc::corrupt, "a section of an entry has the wrong length"};
        return section;
    };
    switch (type) {
        case SectionType::batch: {
            auto batch = TRY(read_batch_section(in, nullptr));
            return Section(std::move(batch));
        }
        case SectionType::counts: {
            CountsSection s;
            s.stream = ObjectId::from_packed(in.u64());
            s.duplicate = in.u64();
            s.refused = in.u64();
            return whole(s);
        }
        case SectionType::catalog_put: {
            CatalogPut s;
            const auto kind = in.u8();
            if (kind != 1 && kind != 2) return Error{Errc::corrupt, "an entry puts an object of an unknown kind"};
            s.kind = static_cast<ObjectKind>(kind);
            s.name = std::string(in.bytes());
            s.statement = std::string(in.bytes());
            return whole(std::move(s));
        }
        case SectionType::catalog_drop:
            return whole(CatalogDrop{ObjectId::from_packed(in.u64())});
        case SectionType::define_stream: {
            DefineStream s;
            s.id = ObjectId::from_packed(in.u64());
            s.version = in.u32();
            s.name = std::string(in.bytes());
            s.statement = std::string(in.bytes());
            return whole(std::move(s));
        }
        case SectionType::define_view: {
            DefineView s;
            s.id = ObjectId::from_packed(in.u64());
            s.stream = ObjectId::from_packed(in.u64());
            s.name = std::string(in.bytes());
            s.statement = std::string(in.bytes());
            return whole(std::move(s));
        }
        case SectionType::drop_stream: {
            DropStream s{ObjectId::from_packed(in.u64())};
            s.with_views = in.ok() && !in.at_end();
            if (s.with_views && in.u8() != 1) return Error{Errc::corrupt, "an entry drops a stream in an unknown way"};
            return whole(s);
        }
        case SectionType::drop_view:
            return whole(DropView{ObjectId::from_packed(in.u64())});
        case SectionType::retain: {
            Retain s;
            s.stream = ObjectId::from_packed(in.u64());
            s.appended_before_ms = in.i64();
            s.bytes_kept = in.i64();
            s.dedup_bucket = in.i64();
            if (in.ok() && !in.at_end()) s.version = in.u32();
            return whole(s);
        }
        case SectionType::tick:
            return whole(Tick{ObjectId::from_packed(in.u64())});
        case SectionType::flush:
            return whole(Flush{ObjectId::from_packed(in.u64())});
        case SectionType::view_live:
            return whole(ViewLive{ObjectId::from_packed(in.u64())});
    }
    return Error{Errc::corrupt, "an entry has a section of unknown type " + std::to_string(static_cast<int>(type)) +
                                    ": it was written by a newer version"};
}

}  // namespace

Result<Entry> decode_entry(std::string_view bytes) {
    WireReader in(bytes);
    Entry entry;
    const auto magic = in.u8();
    const auto version = in.u8();
    in.u16();
    const auto sections = in.u32();
    entry.append_time_ms = in.i64();
    if (!in.ok() || magic != entry_magic || version != entry_version) {
        return Error{Errc::corrupt, "not an entry of this version"};
    }
    if (sections > in.left() / section_head_bytes)
        return Error{Errc::corrupt, "an entry counts more sections than it holds"};
    entry.sections.reserve(sections);
    for (std::uint32_t i = 0; i < sections; i++) {
        const auto type = static_cast<SectionType>(in.u8());
        in.u8();
        in.u16();
        const auto body = in.bytes();
        if (!in.ok()) return Error{Errc::corrupt, "an entry is cut in a section"};
        entry.sections.push_back(TRY(read_body(type, body)));
    }
    if (!in.at_end()) return Error{Errc::corrupt, "an entry has bytes behind its last section"};
    return entry;
}

Result<Entry> decode_entry(const EntryBuffer& buffer) {
    Entry entry;
    entry.append_time_ms = buffer.append_time_ms;
    entry.sections.reserve(buffer.parts.size());
    for (const auto& part : buffer.parts) {
        const std::string_view framed = buffer.owned[part.head];
        CHECK(framed.size() >= section_head_bytes);
        if (part.is_batch) {
            WireReader head(framed.substr(section_head_bytes));
            entry.sections.emplace_back(TRY(read_batch_section(head, &buffer.owned[part.batch])));
        } else {
            const auto type = static_cast<SectionType>(framed[0]);
            entry.sections.push_back(TRY(read_body(type, framed.substr(section_head_bytes))));
        }
    }
    return entry;
}

std::string encode_batch_head(const BatchSection& s) {
    CHECK(s.fingerprints.empty() || s.fingerprints.size() == s.count);
    const std::size_t ids = s.fingerprints.size();
    const std::size_t head = batch_head_bytes + ids * 16;
    std::string bytes;
    bytes.reserve(section_head_bytes + head);
    WireWriter out(bytes);
    write_section_head(out, SectionType::batch, head + s.batch.size());
    out.u64(s.stream.packed());
    out.u32(s.version);
    out.i32(s.partition);
    out.u32(s.count);
    out.u32(static_cast<std::uint32_t>(ids));
    out.i64(s.base_offset);
    out.i64(s.min_time_ms);
    out.i64(s.max_time_ms);
    const std::size_t at = bytes.size();
    bytes.resize(at + ids * 16);
    for (std::size_t i = 0; i < ids; i++) {
        const le64 hi(s.fingerprints[i].hi), lo(s.fingerprints[i].lo);
        std::memcpy(bytes.data() + at + i * 16, &hi, 8);
        std::memcpy(bytes.data() + at + i * 16 + 8, &lo, 8);
    }
    return bytes;
}

std::string encode_section(const Section& section) {
    if (const auto* batch = std::get_if<BatchSection>(&section)) {
        auto bytes = encode_batch_head(*batch);
        bytes.append(batch->batch);
        return bytes;
    }
    std::string body;
    WireWriter body_out(body);
    write_body(body_out, section);
    std::string bytes;
    WireWriter out(bytes);
    write_section_head(out, type_of(section), body.size());
    bytes.append(body);
    return bytes;
}

std::string encode_entry_head(std::int64_t append_time_ms, std::uint32_t sections) {
    std::string bytes;
    WireWriter out(bytes);
    out.u8(entry_magic);
    out.u8(entry_version);
    out.u16(0);
    out.u32(sections);
    out.i64(append_time_ms);
    return bytes;
}

}  // namespace weir::log
