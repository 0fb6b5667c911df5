// The batch layout stands in batch.h. Writing is the hot path of every door: one reserve and a few appends a record.
#include "record/batch.h"

#include "base/check.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "record/compress.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <limits>

namespace weir::record {
namespace {

constexpr std::size_t length_prefix_bytes = offsetof(BatchHeader, leader_epoch);  // base offset and length
constexpr std::size_t crc_begin = offsetof(BatchHeader, attributes);
static_assert(length_prefix_bytes == 12 && crc_begin == 21);

constexpr std::int8_t magic_v2 = 2;
// length, attributes, two deltas, two null markers, header count: one byte each.
constexpr std::size_t record_bytes_min = 7;
constexpr std::size_t header_entry_bytes_min = 2;
constexpr int transactional_bit = 0x10;
constexpr int control_bit = 0x20;
constexpr int delete_horizon_bit = 0x40;  // KIP-534: the base timestamp means something else; only brokers set it
constexpr std::size_t varint_bytes_max = 10;

constexpr std::uint64_t zigzag(std::int64_t v) {
    return static_cast<std::uint64_t>(v) << 1 ^ static_cast<std::uint64_t>(v >> 63);
}

constexpr std::size_t varint_bytes(std::uint64_t v) {
    return (static_cast<std::size_t>(std::bit_width(v | 1)) + 6) / 7;
}

char* put_varint(char* at, std::uint64_t v) {
    while (v >= 0x80) {
        *at++ = static_cast<char>(v | 0x80);
        v >>= 7;
    }
    *at++ = static_cast<char>(v);
    return at;
}

char* put_signed(char* at, std::int64_t v) {
    return put_varint(at, zigzag(v));
}

// A length as Kafka writes it: -1 for null.
std::int64_t length_or_null(std::string_view v) {
    return v.data() == nullptr ? -1 : static_cast<std::int64_t>(v.size());
}

// Reads varints from the front of `at`. false: cut off, longer than the type allows, or out of its range.
bool take_varlong(std::string_view& at, std::int64_t& out) {
    if (!at.empty() && static_cast<unsigned char>(at[0]) < 0x80) {  // nearly all of them
        const std::uint64_t raw = static_cast<unsigned char>(at[0]);
        out = static_cast<std::int64_t>(raw >> 1 ^ (0 - (raw & 1)));
        at.remove_prefix(1);
        return true;
    }
    std::uint64_t raw = 0;
    const std::size_t end = std::min(at.size(), varint_bytes_max);
    for (std::size_t i = 0; i < end; i++) {
        const auto byte = static_cast<unsigned char>(at[i]);
        if (i == varint_bytes_max - 1 && byte > 1) return false;  // beyond 64 bits
        raw |= static_cast<std::uint64_t>(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            out = static_cast<std::int64_t>(raw >> 1 ^ (0 - (raw & 1)));
            at.remove_prefix(i + 1);
            return true;
        }
    }
    return false;
}

bool take_varint(std::string_view& at, std::int32_t& out) {
    std::int64_t v = 0;
    if (!take_varlong(at, v) || v != static_cast<std::int32_t>(v)) return false;
    out = static_cast<std::int32_t>(v);
    return true;
}

// A length and its bytes; -1 is null (data() == nullptr).
bool take_nullable(std::string_view& at, std::string_view& out) {
    std::int32_t size = 0;
    if (!take_varint(at, size)) return false;
    if (size < 0) {
        out = {};
        return size == -1;
    }
    if (static_cast<std::size_t>(size) > at.size()) return false;
    out = at.substr(0, static_cast<std::size_t>(size));
    at.remove_prefix(static_cast<std::size_t>(size));
    return true;
}

Error corrupt(const char* what) {
    return Error{Errc::corrupt, std::string("record batch: ") + what};
}

// Calls `on_header(Header)` for each. false: not well formed, or bytes left over.
template <class F>
bool walk_headers(std::string_view at, F&& on_header) {
    std::int32_t count = 0;
    if (!take_varint(at, count) || count < 0) return false;
    if (static_cast<std::size_t>(count) > at.size() / header_entry_bytes_min) return false;
    for (std::int32_t i = 0; i < count; i++) {
        Header header;
        if (!take_nullable(at, header.key) || header.key.data() == nullptr) return false;
        if (!take_nullable(at, header.value)) return false;
        on_header(header);
    }
    return at.empty();
}

}  // namespace

void BatchBuilder::reset() {
    out_.clear();
    packed_.clear();
    is_packed_ = false;
    count_ = 0;
    base_ms_ = min_ms_ = max_ms_ = 0;
}

void BatchBuilder::add(std::int64_t timestamp_ms, std::optional<std::string_view> key, std::string_view value,
                       std::span<const Header> headers) {
    if (count_ == 0) {
        out_.resize(batch_header_bytes);
        base_ms_ = min_ms_ = max_ms_ = timestamp_ms;
    }
    // Wraps like the reader's addition, so that any pair of timestamps comes back.
    const std::uint64_t delta_ms = zigzag(
        static_cast<std::int64_t>(static_cast<std::uint64_t>(timestamp_ms) - static_cast<std::uint64_t>(base_ms_)));
    const std::int64_t key_length = key ? static_cast<std::int64_t>(key->size()) : -1;
    const std::size_t key_bytes = key ? key->size() : 0;
    std::size_t body = 1 + varint_bytes(delta_ms) + varint_bytes(zigzag(count_)) + varint_bytes(zigzag(key_length)) +
                       key_bytes + varint_bytes(zigzag(length_or_null(value))) + value.size() +
                       varint_bytes(zigzag(static_cast<std::int64_t>(headers.size())));
    for (const Header& h : headers)
        body += varint_bytes(zigzag(static_cast<std::int64_t>(h.key.size()))) + h.key.size() +
                varint_bytes(zigzag(length_or_null(h.value))) + h.value.size();

    const std::size_t end = out_.size() + varint_bytes_max + body;
    CHECK(end <= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()));  // callers stop at limits
    if (out_.capacity() < end) out_.reserve(std::max(end, 2 * out_.capacity()));

    char lead[5 * varint_bytes_max];
    char* at = put_signed(lead, static_cast<std::int64_t>(body));
    *at++ = 0;  // record attributes: none are defined
    at = put_varint(at, delta_ms);
    at = put_signed(at, count_);
    at = put_signed(at, key_length);
    out_.append(lead, static_cast<std::size_t>(at - lead));
    out_.append(key_length > 0 ? *key : std::string_view());
    at = put_signed(lead, length_or_null(value));
    out_.append(lead, static_cast<std::size_t>(at - lead));
    out_.append(value);
    at = put_signed(lead, static_cast<std::int64_t>(headers.size()));
    out_.append(lead, static_cast<std::size_t>(at - lead));
    for (const Header& h : headers) {
        at = put_signed(lead, static_cast<std::int64_t>(h.key.size()));
        out_.append(lead, static_cast<std::size_t>(at - lead));
        out_.append(h.key);
        at = put_signed(lead, length_or_null(h.value));
        out_.append(lead, static_cast<std::size_t>(at - lead));
        out_.append(h.value);
    }
    min_ms_ = std::min(min_ms_, timestamp_ms);
    max_ms_ = std::max(max_ms_, timestamp_ms);
    count_++;
    is_packed_ = false;
}

std::string_view BatchBuilder::finish(std::int64_t base_offset, std::int32_t leader_epoch, Codec codec) {
    CHECK(!empty());
    is_packed_ = codec != Codec::none;
    std::string& batch = is_packed_ ? packed_ : out_;
    if (is_packed_) {
        packed_.resize(batch_header_bytes);
        const Status packed = deflate(codec, std::string_view(out_).substr(batch_header_bytes), packed_);
        CHECK(packed.has_value());
    }
    BatchHeader header;
    header.base_offset = base_offset;
    header.batch_length = static_cast<std::int32_t>(batch.size() - length_prefix_bytes);
    header.leader_epoch = leader_epoch;
    header.magic = magic_v2;
    header.attributes = static_cast<std::int16_t>(codec);
    header.last_offset_delta = count_ - 1;
    header.base_timestamp_ms = base_ms_;
    header.max_timestamp_ms = max_ms_;
    header.producer_id = -1;  // no idempotent producer: -1 in all three, as Kafka's clients write it
    header.producer_epoch = -1;
    header.base_sequence = -1;
    header.count = count_;
    std::memcpy(batch.data(), &header, sizeof header);
    header.crc = crc32c(0, std::string_view(batch).substr(crc_begin));
    std::memcpy(batch.data(), &header, sizeof header);
    return batch;
}

std::string BatchBuilder::take() {
    CHECK(!empty());
    std::string batch = std::move(is_packed_ ? packed_ : out_);
    reset();
    return batch;
}

Result<BatchView> read_batch(std::string_view bytes) {
    if (bytes.size() < batch_header_bytes) return corrupt("shorter than its header");
    BatchView view;
    std::memcpy(&view.header, bytes.data(), sizeof view.header);
    const BatchHeader& h = view.header;
    if (h.magic != magic_v2) return corrupt("the magic is not 2");
    const std::int32_t length = h.batch_length;
    if (length < static_cast<std::int32_t>(batch_header_bytes - length_prefix_bytes))
        return corrupt("the length is below the header's");
    const std::size_t size = length_prefix_bytes + static_cast<std::size_t>(length);
    if (size > limits::batch_bytes_max) return corrupt("the length is beyond the limit");
    if (size > bytes.size()) return corrupt("cut off");
    view.bytes = bytes.substr(0, size);
    if (h.count < 0 || h.last_offset_delta < 0) return corrupt("a negative count");
    if (h.base_offset > std::numeric_limits<std::int64_t>::max() - h.last_offset_delta - 1)
        return corrupt("the base offset is absurd");
    if (view.codec() == Codec::none && static_cast<std::size_t>(h.count) > view.records().size() / record_bytes_min)
        return corrupt("more records than bytes for them");
    return view;
}

Status check_crc(const BatchView& batch) {
    if (crc32c(0, batch.bytes.substr(crc_begin)) != batch.header.crc) return corrupt("the CRC does not match");
    return {};
}

Status validate(const BatchView& batch, std::size_t inflated_bytes_max) {
    TRY(check_crc(batch));
    const int attributes = batch.header.attributes;
    if ((attributes & (transactional_bit | control_bit | delete_horizon_bit)) != 0)
        return Error{Errc::unsupported, "record batch: transactional and control batches are not accepted"};
    const std::int32_t count = batch.header.count;
    if (count < 1) return corrupt("no records");
    if (count - 1 != batch.header.last_offset_delta) return corrupt("count and last offset delta disagree");

    RecordIterator records = TRY(RecordIterator::open(batch, inflated_bytes_max));
    Record record;
    for (std::int32_t i = 0; i < count; i++) {
        const bool has_record = TRY(records.next(record));
        CHECK(has_record);  // the iterator yields `count` records or an error
        if (record.offset != batch.header.base_offset + i) return corrupt("offset deltas are not dense");
        if (!walk_headers(record.headers, [](const Header&) {})) return corrupt("a record's headers");
    }
    const bool is_longer = TRY(records.next(record));
    CHECK(!is_longer);
    return {};
}

Result<std::vector<Header>> read_headers(std::string_view raw) {
    std::vector<Header> headers;
    if (!walk_headers(raw, [&](const Header& h) { headers.push_back(h); })) return corrupt("a record's headers");
    return headers;
}

Result<RecordIterator> RecordIterator::open(const BatchView& batch, std::size_t inflated_bytes_max) {
    RecordIterator it;
    it.base_offset_ = batch.header.base_offset;
    it.base_ms_ = batch.header.base_timestamp_ms;
    it.left_ = batch.header.count;
    if (batch.codec() == Codec::none) {
        it.at_ = batch.records();
        if (it.at_.size() > inflated_bytes_max) return Error{Errc::too_large, "records are beyond the limit"};
    } else {
        // The string keeps its heap block when this object moves (its capacity is never a small string's), so at_ stays
        // valid.
        it.buffer_ = TRY(inflate(batch.codec(), batch.records(), inflated_bytes_max));
        it.at_ = it.buffer_;
        it.inflated_ = true;
    }
    if (static_cast<std::size_t>(it.left_) > it.at_.size() / record_bytes_min)
        return corrupt("more records than bytes for them");
    return it;
}

Result<bool> RecordIterator::next(Record& out) {
    if (left_ == 0) {
        if (!at_.empty()) return corrupt("bytes behind the last record");
        return false;
    }
    std::int32_t length = 0, offset_delta = 0;
    std::int64_t delta_ms = 0;
    if (!take_varint(at_, length) || length < 1 || static_cast<std::size_t>(length) > at_.size())
        return corrupt("a record's length");
    std::string_view body = at_.substr(0, static_cast<std::size_t>(length));
    body.remove_prefix(1);  // attributes: none are defined
    if (!take_varlong(body, delta_ms) || !take_varint(body, offset_delta)) return corrupt("a record's deltas");
    if (offset_delta < 0) return corrupt("a negative offset delta");
    if (!take_nullable(body, out.key) || !take_nullable(body, out.value)) return corrupt("a record's key or value");
    if (body.empty()) return corrupt("a record without its header count");
    out.has_key = out.key.data() != nullptr;
    out.has_value = out.value.data() != nullptr;
    out.headers = body;
    if (__builtin_add_overflow(base_offset_, offset_delta, &out.offset)) return corrupt("an offset out of range");
    out.timestamp_ms =
        static_cast<std::int64_t>(static_cast<std::uint64_t>(base_ms_) + static_cast<std::uint64_t>(delta_ms));
    at_.remove_prefix(static_cast<std::size_t>(length));
    left_--;
    return true;
}

}  // namespace weir::record
