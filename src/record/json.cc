// The decoder: cuts a body into events, walks each once (detail/json_scan.h), then turns what was found into columns.
//
// A column batch grows by blocks of rows that are written by index and cut at the end, so that a row costs no test of
// twenty vectors' capacity, and one that turns out bad half-way is simply written over by the next.
#include "record/json.h"

#include "base/check.h"
#include "base/limits.h"
#include "base/wire.h"
#include "record/detail/cloud_envelope.h"
#include "record/detail/json_message.h"
#include "record/detail/json_plan.h"
#include "record/detail/json_scan.h"
#include "record/detail/json_value.h"
#include "record/time.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace weir::record {
namespace {

using detail::Cell;
using detail::Fault;
using detail::Kind;
using detail::PlannedColumn;
using detail::Read;
using detail::Token;

// UTF-8 is checked for this many bytes of lines at a time: few calls, and the bytes are still in the cache for the
// walk.
constexpr std::size_t utf8_chunk_bytes = 32 * limits::kib;
// Above this many bytes of column values a request is refused whole, so that a slice's 32 bits always suffice. Only a
// schema that copies the event into dozens of JSON columns gets there.
constexpr std::size_t column_bytes_max = limits::gib;
constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

std::uint32_t size32(std::size_t size) {
    return static_cast<std::uint32_t>(size);
}

// The text of a column's value that keys and partitions are made of; fixed-width types are written into `buffer`.
std::string_view value_text(const ColumnBatch& batch, std::size_t c, ColumnType type, std::size_t row,
                            std::string& buffer) {
    if (is_sliced(type)) return batch.text(c, row);
    char digits[32];
    const auto decimal = [&digits](auto value) {
        return std::string_view(
            digits, static_cast<std::size_t>(std::to_chars(digits, digits + sizeof digits, value).ptr - digits));
    };
    switch (type) {
        case ColumnType::real:
            buffer = decimal(batch.real(c, row));
            break;
        case ColumnType::boolean:
            buffer = batch.columns[c].number[row] != 0 ? "true" : "false";
            break;
        case ColumnType::timestamp:
            buffer = format_rfc3339(batch.columns[c].number[row]);
            break;
        case ColumnType::text:
        case ColumnType::integer:
        case ColumnType::json:
        case ColumnType::blob:
            buffer = decimal(batch.columns[c].number[row]);
            break;
    }
    return buffer;
}

void resize_rows(ColumnBatch& batch, const Schema& schema, std::size_t rows) {
    for (std::size_t c = 0; c < batch.columns.size(); ++c) {
        batch.columns[c].present.resize(rows);
        if (is_sliced(schema.columns[c].type))
            batch.columns[c].slice.resize(rows);
        else
            batch.columns[c].number.resize(rows);
    }
    batch.event_time_ms.resize(rows);
}

void resize_rows(DecodedEvents& out, const Schema& schema, std::size_t rows) {
    resize_rows(out.columns, schema, rows);
    out.raw.resize(rows);
    out.index.resize(rows);
    out.fingerprint.resize(rows);
    out.partition.resize(rows);
    out.key.resize(rows);
}

void copy_row(DecodedEvents& out, const Schema& schema, std::size_t from, std::size_t to) {
    for (std::size_t c = 0; c < schema.columns.size(); ++c) {
        ColumnData& column = out.columns.columns[c];
        column.present[to] = column.present[from];
        if (is_sliced(schema.columns[c].type))
            column.slice[to] = column.slice[from];
        else
            column.number[to] = column.number[from];
    }
    out.columns.event_time_ms[to] = out.columns.event_time_ms[from];
    out.raw[to] = out.raw[from];
    out.index[to] = out.index[from];
    out.fingerprint[to] = out.fingerprint[from];
    out.partition[to] = out.partition[from];
    out.key[to] = out.key[from];
}

// A column that is not in the event.
void put_absent(ColumnBatch& batch, const Schema& schema, std::size_t c, std::size_t row,
                const PlannedColumn& planned) {
    ColumnData& column = batch.columns[c];
    column.present[row] = planned.fallback.present ? 1 : 0;
    if (!is_sliced(schema.columns[c].type)) {
        column.number[row] = planned.fallback.number;
        return;
    }
    column.slice[row] = Slice{size32(batch.bytes.size()), size32(planned.fallback.text.size())};
    batch.bytes.append(planned.fallback.text);
}

void put_value(ColumnData& column, bool sliced, std::size_t row, const Cell& cell) {
    column.present[row] = 1;
    if (sliced)
        column.slice[row] = cell.slice;
    else
        column.number[row] = cell.number;
}

// Takes the value of `planned` from the column that shares its place and type. False: there is none.
bool put_shared(ColumnBatch& batch, std::size_t c, const PlannedColumn& planned, std::size_t row) {
    if (planned.same_as < 0) return false;
    const ColumnData& from = batch.columns[static_cast<std::size_t>(planned.same_as)];
    ColumnData& to = batch.columns[c];
    to.present[row] = from.present[row];
    if (is_sliced(planned.type))
        to.slice[row] = from.slice[row];
    else
        to.number[row] = from.number[row];
    return true;
}

}  // namespace

std::string_view reject_name(Reject reason) {
    switch (reason) {
        case Reject::none:
            return "none";
        case Reject::too_large:
            return "too_large";
        case Reject::malformed_json:
            return "malformed_json";
        case Reject::too_deep:
            return "too_deep";
        case Reject::not_an_object:
            return "not_an_object";
        case Reject::bad_cloudevent:
            return "bad_cloudevent";
        case Reject::missing_dedup_key:
            return "missing_dedup_key";
        case Reject::bad_event_time:
            return "bad_event_time";
        case Reject::future_event_time:
            return "future_event_time";
        case Reject::wrong_type:
            return "wrong_type";
        case Reject::not_null:
            return "not_null";
        case Reject::check_failed:
            return "check_failed";
    }
    return "none";
}

bool is_utf8(std::string_view text) {
    return simdjson::validate_utf8(text.data(), text.size());
}

std::optional<JsonFault> json_fault(std::string_view text) {
    detail::Plan plan;
    plan.build(Schema{}, {});
    detail::Scanner scanner;
    scanner.use(plan);
    const char* const end = text.data() + text.size();
    const char* behind = scanner.walk<false>(text.data(), end);
    Fault fault = behind == nullptr ? scanner.fault() : Fault::none;
    const char* fault_at = scanner.fault_at();
    if (behind != nullptr && (behind = detail::skip_space(behind, end)) != end) {
        fault = Fault::text_behind;
        fault_at = behind;
    }
    if (!is_utf8(text)) {
        const char* const bad = text.data() + detail::first_bad_utf8(text);
        if (fault == Fault::none || bad <= fault_at) {
            fault = Fault::bad_utf8;
            fault_at = bad;
        }
    }
    if (fault == Fault::none) return std::nullopt;
    return JsonFault{fault == Fault::too_deep ? Reject::too_deep : Reject::malformed_json,
                     detail::fault_message(fault, text, fault_at)};
}

std::string default_fault(ColumnType type, std::string_view literal) {
    const detail::DefaultValue value = detail::literal_default(type, literal);
    const std::string what = std::string(literal.substr(0, 60));
    if (!value.present) {
        std::string fault = what + " is no " + std::string(type_name(type));
        if (type == ColumnType::timestamp) fault += ": write '2026-01-31T12:00:00Z', or milliseconds of the epoch";
        if (type == ColumnType::blob) fault += ": write x'00ff'";
        return fault;
    }
    if (type == ColumnType::timestamp && literal.find('\'') == std::string_view::npos &&
        value.number < detail::epoch_ms_min && value.number > -detail::epoch_ms_min)
        return what + " is no TIMESTAMP: milliseconds of the epoch are meant; seconds?";
    if (type == ColumnType::json) {
        const std::string padded = value.text + std::string(JsonDecoder::padding_bytes, '\0');
        if (const auto fault = json_fault(std::string_view(padded).substr(0, value.text.size())))
            return what + " is no JSON: " + fault->message + " (a JSON string is '\"text\"')";
    }
    return {};
}

void DecodedEvents::reset(const Schema& schema) {
    columns.reset(schema);
    raw.clear();
    index.clear();
    fingerprint.clear();
    partition.clear();
    key.clear();
    rejected.clear();
    lines = 0;
    too_many = false;
}

struct JsonDecoder::State {
    // What decode() works on, for the length of the call.
    struct Call {
        const Schema* schema = nullptr;
        std::string_view body;
        std::int64_t now_ms = 0;
        FingerprintKey hash_key;
        bool cloudevents = false;
        DecodedEvents* out = nullptr;
    };

    void prepare(const Schema& schema);
    void decode_lines();
    void decode_json();
    void decode_array(const char* at, const char* end);
    void take_line(const char* begin, const char* end, std::uint32_t index, bool utf8_checked);
    void take_event(const char* begin, const char* end, std::uint32_t index);
    bool take_time(const char* begin, const char* end, std::uint32_t index, std::int64_t& time_ms);
    bool take_columns(const char* begin, const char* end, std::uint32_t index, std::size_t row, std::int64_t time_ms);
    void take_key(std::size_t row);
    std::string_view typed_key(std::size_t row);
    void run_checks(ColumnCheck& check);
    void reject(const char* begin, const char* end, std::uint32_t index, Reject reason, std::int32_t column,
                std::string message);
    void reject_fault(const char* begin, const char* end, std::uint32_t index, Fault fault, const char* at);
    // Only one rejection, of the whole body.
    void reject_body(Reject reason, std::string message);
    // True: this request has more than can be taken, and has been rejected whole.
    bool is_full();

    const Token& token(std::size_t c) const { return scanner.token(plan.column(c).node); }

    Call call;
    detail::Plan plan;
    detail::Scanner scanner;
    bool planned = false;
    std::size_t rows_made = 0;  // the length of the vectors, at least columns.rows
    std::string scratch;
    std::string key_bytes;  // the typed key, the text of a key
    std::string key_part;
    std::vector<std::int32_t> failed;

    std::unique_ptr<detail::CloudEnvelope> envelope;  // once there has been a CloudEvent

    // decode_stored() has its own: a reader may be asked for other columns than the door.
    detail::Plan stored_plan;
    detail::Scanner stored_scanner;
    std::uint64_t stored_identity = 0;
    std::vector<bool> stored_want;
};

JsonDecoder::JsonDecoder() : state_(std::make_unique<State>()) {}
JsonDecoder::~JsonDecoder() = default;

void JsonDecoder::decode(const Schema& schema, BodyShape shape, std::string_view body, std::int64_t now_ms,
                         const FingerprintKey& hash_key, ColumnCheck* check, DecodedEvents& out) {
    CHECK(body.size() <= limits::entry_bytes_max);
    State& s = *state_;
    s.prepare(schema);
    s.call = {&schema, body, now_ms, hash_key, shape == BodyShape::cloudevents, &out};
    out.reset(schema);
    s.rows_made = 0;
    switch (shape) {
        case BodyShape::json:
        case BodyShape::cloudevents:
            s.decode_json();
            break;
        case BodyShape::ndjson:
            s.decode_lines();
            break;
    }
    resize_rows(out, schema, out.columns.rows);
    if (check != nullptr && out.columns.rows > 0) s.run_checks(*check);
    out.lines = size32(out.columns.rows + out.rejected.size());
    s.call = {};
}

void JsonDecoder::refuse(const Schema& schema, std::string_view body, Reject reason, std::string message,
                         DecodedEvents& out) {
    out.reset(schema);
    message.resize(detail::cut_utf8(message, limits::dead_letter_message_bytes_max).size());
    out.rejected.push_back(Rejection{0, reason, -1, std::move(message), Slice{0, size32(body.size())}});
    out.lines = 1;
}

void JsonDecoder::State::prepare(const Schema& schema) {
    if (planned && plan.fits(schema)) return;
    plan.build(schema, {});
    scanner.use(plan);
    planned = true;
}

void JsonDecoder::State::decode_lines() {
    const char* at = call.body.data();
    const char* const end = at + call.body.size();
    if (call.body.starts_with(byte_order_mark)) at += byte_order_mark.size();
    const char* chunk_end = at;
    bool utf8_checked = true;
    for (std::uint32_t index = 0; at < end; ++index) {
        const void* feed = std::memchr(at, '\n', static_cast<std::size_t>(end - at));
        const char* line_end = feed != nullptr ? static_cast<const char*>(feed) : end;
        const char* const next = feed != nullptr ? line_end + 1 : end;
        if (at >= chunk_end) {
            chunk_end = next;
            if (static_cast<std::size_t>(end - at) <= utf8_chunk_bytes) {
                chunk_end = end;
            } else if (const void* last = memrchr(at, '\n', utf8_chunk_bytes)) {
                chunk_end = static_cast<const char*>(last) + 1;
            }
            utf8_checked = simdjson::validate_utf8(at, static_cast<std::size_t>(chunk_end - at));
        }
        if (line_end > at && line_end[-1] == '\r') --line_end;
        if (detail::skip_space(at, line_end) != line_end) {
            if (is_full()) return;
            take_line(at, line_end, index, utf8_checked);
        }
        at = next;
    }
}

void JsonDecoder::State::take_line(const char* begin, const char* end, std::uint32_t index, bool utf8_checked) {
    const std::size_t size = static_cast<std::size_t>(end - begin);
    if (size > limits::event_bytes_max)
        return reject(begin, end, index, Reject::too_large, -1, detail::too_large_message(size));
    const char* behind = scanner.walk<false>(begin, end);
    Fault fault = behind == nullptr ? scanner.fault() : Fault::none;
    const char* fault_at = scanner.fault_at();
    if (behind != nullptr && behind != end) {
        behind = detail::skip_space(behind, end);
        if (behind != end) {
            fault = Fault::text_behind;
            fault_at = behind;
        }
    }
    if (!utf8_checked) [[unlikely]] {
        const std::size_t bad = detail::first_bad_utf8({begin, size});
        if (bad != std::string_view::npos && (fault == Fault::none || begin + bad <= fault_at)) {
            fault = Fault::bad_utf8;
            fault_at = begin + bad;
        }
    }
    if (fault != Fault::none) return reject_fault(begin, end, index, fault, fault_at);
    take_event(begin, end, index);
}

void JsonDecoder::State::decode_json() {
    const char* at = call.body.data();
    const char* const end = at + call.body.size();
    if (call.body.starts_with(byte_order_mark)) at += byte_order_mark.size();
    at = detail::skip_space(at, end);
    if (at == end) return;
    const char* trimmed = end;
    while (detail::is_space(trimmed[-1]))
        --trimmed;
    const bool utf8_checked = simdjson::validate_utf8(at, static_cast<std::size_t>(end - at));
    if (*at != '[') {
        take_line(at, trimmed, 0, utf8_checked);
        for (Rejection& rejection : call.out->rejected)  // one at most
            if (rejection.reason == Reject::malformed_json || rejection.reason == Reject::too_deep)
                rejection.raw = Slice{0, size32(call.body.size())};
        return;
    }
    decode_array(at, end);
    if (utf8_checked || call.out->too_many) return;
    // Malformed, unless something too deep comes earlier. decode_array has then left that as the only rejection.
    const char* const bad = at + detail::first_bad_utf8({at, static_cast<std::size_t>(end - at)});
    if (scanner.fault() == Fault::too_deep && scanner.fault_at() < bad) return;
    reject_body(Reject::malformed_json, detail::fault_message(Fault::bad_utf8, call.body, bad));
}

void JsonDecoder::State::decode_array(const char* at, const char* end) {
    const auto broken = [this](Fault fault, const char* where) {
        reject_body(fault == Fault::too_deep ? Reject::too_deep : Reject::malformed_json,
                    detail::fault_message(fault, call.body, where));
    };
    at = detail::skip_space(at + 1, end);
    bool more = at == end || *at != ']';
    for (std::uint32_t index = 0; more; ++index) {
        at = detail::skip_space(at, end);
        if (is_full()) return;
        const char* behind = scanner.walk<false>(at, end);
        if (behind == nullptr) return broken(scanner.fault(), scanner.fault_at());
        const std::size_t size = static_cast<std::size_t>(behind - at);
        if (size > limits::event_bytes_max)
            reject(at, behind, index, Reject::too_large, -1, detail::too_large_message(size));
        else
            take_event(at, behind, index);
        at = detail::skip_space(behind, end);
        if (at == end || (*at != ',' && *at != ']')) return broken(Fault::comma_or_bracket_expected, at);
        more = *at == ',';
        if (more) ++at;
    }
    at = detail::skip_space(at + 1, end);
    if (at != end) broken(Fault::text_behind, at);
}

// An event whose walk found nothing wrong.
void JsonDecoder::State::take_event(const char* begin, const char* end, std::uint32_t index) {
    DecodedEvents& out = *call.out;
    const Schema& schema = *call.schema;
    const Token& root = scanner.token(1);
    if (root.kind != Kind::object)
        return reject(begin, end, index, Reject::not_an_object, -1, detail::not_an_object_message(root));
    if (call.cloudevents) [[unlikely]] {
        if (!envelope) envelope = std::make_unique<detail::CloudEnvelope>();
        if (std::string why = envelope->fault(begin, end); !why.empty())
            return reject(begin, end, index, Reject::bad_cloudevent, -1, std::move(why));
    }
    if (!schema.lenient) {
        for (const int c : schema.dedup_key) {
            const Token& t = token(static_cast<std::size_t>(c));
            if (t.kind == Kind::absent || t.kind == Kind::null)
                return reject(begin, end, index, Reject::missing_dedup_key, c,
                              detail::missing_key_message(schema.columns[static_cast<std::size_t>(c)], t));
        }
    }
    std::int64_t time_ms = event_time_is_append_time;
    if (!take_time(begin, end, index, time_ms)) return;

    const std::size_t row = out.columns.rows;
    if (row == rows_made) {
        rows_made = row == 0 ? call.body.size() / 256 + 16 : 2 * row;
        resize_rows(out, schema, rows_made);
    }
    const std::size_t bytes_before = out.columns.bytes.size();
    if (!take_columns(begin, end, index, row, time_ms)) {
        out.columns.bytes.resize(bytes_before);
        return;
    }
    out.columns.event_time_ms[row] = time_ms;
    out.raw[row] = Slice{size32(static_cast<std::size_t>(begin - call.body.data())),
                         size32(static_cast<std::size_t>(end - begin))};
    out.index[row] = index;
    take_key(row);
    ++out.columns.rows;
}

bool JsonDecoder::State::take_time(const char* begin, const char* end, std::uint32_t index, std::int64_t& time_ms) {
    const Schema& schema = *call.schema;
    if (schema.event_time < 0) return true;
    const Column& column = schema.columns[static_cast<std::size_t>(schema.event_time)];
    const Token& t = scanner.token(plan.event_time_node());
    std::int64_t ms = 0;
    const Read read = detail::read_time(t, scratch, ms);
    if (read != Read::value) {
        if (schema.lenient) return true;
        reject(begin, end, index, Reject::bad_event_time, schema.event_time,
               detail::event_time_message(column, t, read));
        return false;
    }
    if (ms > call.now_ms && static_cast<std::uint64_t>(ms) - static_cast<std::uint64_t>(call.now_ms) >
                                static_cast<std::uint64_t>(std::max<std::int64_t>(schema.max_future_ms, 0))) {
        reject(begin, end, index, Reject::future_event_time, schema.event_time,
               detail::future_message(column, ms, call.now_ms, schema.max_future_ms));
        return false;
    }
    time_ms = ms;
    return true;
}

bool JsonDecoder::State::take_columns(const char* begin, const char* end, std::uint32_t index, std::size_t row,
                                      std::int64_t time_ms) {
    const Schema& schema = *call.schema;
    ColumnBatch& batch = call.out->columns;
    for (std::size_t c = 0; c < schema.columns.size(); ++c) {
        const PlannedColumn& planned_column = plan.column(c);
        if (static_cast<int>(c) == schema.event_time && planned_column.type == ColumnType::timestamp &&
            time_ms != event_time_is_append_time) {
            put_value(batch.columns[c], false, row, Cell{time_ms, {}});  // has been read already
            continue;
        }
        if (!put_shared(batch, c, planned_column, row)) {
            const Token& t = scanner.token(planned_column.node);
            Cell cell;
            const Read read = detail::read_value(planned_column.type, t, batch.bytes, scratch, cell);
            if (read == Read::value) {
                put_value(batch.columns[c], is_sliced(planned_column.type), row, cell);
                continue;
            }
            if (read != Read::null && !schema.lenient) {
                reject(begin, end, index, Reject::wrong_type, static_cast<std::int32_t>(c),
                       detail::wrong_type_message(schema.columns[c], t, read));
                return false;
            }
            put_absent(batch, schema, c, row, planned_column);
        }
        if (schema.columns[c].not_null && batch.columns[c].present[row] == 0) {
            reject(begin, end, index, Reject::not_null, static_cast<std::int32_t>(c),
                   detail::not_null_message(schema.columns[c], scanner.token(planned_column.node)));
            return false;
        }
    }
    return true;
}

// The bytes that are hashed, empty when a column of the key is null (only an undeclared stream has that).
std::string_view JsonDecoder::State::typed_key(std::size_t row) {
    const ColumnBatch& batch = call.out->columns;
    key_bytes.clear();
    WireWriter writer(key_bytes);
    for (const int key_column : call.schema->dedup_key) {
        const std::size_t c = static_cast<std::size_t>(key_column);
        const ColumnType type = plan.column(c).type;
        if (batch.columns[c].present[row] == 0) return {};
        writer.u8(static_cast<std::uint8_t>(type));
        if (is_sliced(type)) {
            writer.bytes(batch.text(c, row));
            continue;
        }
        // -0.0 equals 0.0, so both are one key.
        const bool zero = type == ColumnType::real && batch.real(c, row) == 0;
        writer.bytes(bytes_of(lei64(zero ? 0 : batch.columns[c].number[row])));
    }
    return key_bytes;
}

void JsonDecoder::State::take_key(std::size_t row) {
    DecodedEvents& out = *call.out;
    const Schema& schema = *call.schema;
    ColumnBatch& batch = out.columns;
    const std::string_view typed = typed_key(row);
    out.fingerprint[row] = typed.empty() ? Fingerprint{} : fingerprint(call.hash_key, typed);

    const auto set_key = [&](Slice slice) {
        const std::string_view text = std::string_view(batch.bytes).substr(slice.offset, slice.size);
        const std::uint32_t partitions = static_cast<std::uint32_t>(std::max(schema.partitions, 1));
        out.key[row] = slice;
        out.partition[row] = static_cast<std::int32_t>((murmur2(text) & 0x7fffffff) % partitions);
    };
    const auto set_text = [&](std::string_view text) {
        const Slice slice{size32(batch.bytes.size()), size32(text.size())};
        batch.bytes.append(text);
        set_key(slice);
    };
    const std::size_t by = static_cast<std::size_t>(schema.partition_by);
    const bool has_by = schema.partition_by >= 0 && batch.columns[by].present[row] != 0;
    if (has_by || (!typed.empty() && schema.dedup_key.size() == 1)) {
        const std::size_t c = has_by ? by : static_cast<std::size_t>(schema.dedup_key[0]);
        const ColumnType type = plan.column(c).type;
        if (is_sliced(type)) return set_key(batch.columns[c].slice[row]);
        return set_text(value_text(batch, c, type, row, key_part));
    }
    if (typed.empty()) {
        out.key[row] = Slice{};
        out.partition[row] = -1;
        return;
    }
    key_bytes.clear();
    for (const int key_column : schema.dedup_key) {
        const std::size_t c = static_cast<std::size_t>(key_column);
        if (key_column != schema.dedup_key.front()) key_bytes.push_back('|');
        key_bytes.append(value_text(batch, c, plan.column(c).type, row, key_part));
    }
    set_text(key_bytes);
}

void JsonDecoder::State::run_checks(ColumnCheck& check) {
    DecodedEvents& out = *call.out;
    const Schema& schema = *call.schema;
    const std::size_t rows = out.columns.rows;
    failed.assign(rows, -1);
    const Status status = check.evaluate(out.columns, failed);
    failed.resize(rows, -1);
    const std::size_t rejected_before = out.rejected.size();
    std::size_t kept = 0;
    const char* const body = call.body.data();
    for (std::size_t row = 0; row < rows; ++row) {
        if (status && failed[row] < 0) {
            if (kept != row) copy_row(out, schema, row, kept);
            ++kept;
            continue;
        }
        const char* const begin = body + out.raw[row].offset;
        std::string message;
        std::int32_t column = -1;
        if (!status) {
            // What cannot be decided cannot be called good; the bytes are kept, so nothing is lost.
            message = detail::cut_utf8("CHECK cannot be evaluated: " + status.error().detail,
                                       limits::dead_letter_message_bytes_max);
        } else if (const std::size_t c = static_cast<std::size_t>(failed[row]); c < schema.columns.size()) {
            column = failed[row];
            const bool present = out.columns.columns[c].present[row] != 0;
            message = detail::check_message(
                schema.columns[c],
                present ? value_text(out.columns, c, schema.columns[c].type, row, key_part) : "null");
        }
        reject(begin, begin + out.raw[row].size, out.index[row], Reject::check_failed, column, std::move(message));
    }
    if (kept == rows) return;
    out.columns.rows = kept;
    resize_rows(out, schema, kept);
    std::inplace_merge(out.rejected.begin(), out.rejected.begin() + static_cast<std::ptrdiff_t>(rejected_before),
                       out.rejected.end(), [](const Rejection& a, const Rejection& b) { return a.index < b.index; });
}

void JsonDecoder::State::reject(const char* begin, const char* end, std::uint32_t index, Reject reason,
                                std::int32_t column, std::string message) {
    const Slice raw{size32(static_cast<std::size_t>(begin - call.body.data())),
                    size32(static_cast<std::size_t>(end - begin))};
    call.out->rejected.push_back(Rejection{index, reason, column, std::move(message), raw});
}

void JsonDecoder::State::reject_fault(const char* begin, const char* end, std::uint32_t index, Fault fault,
                                      const char* at) {
    const std::string_view text(begin, static_cast<std::size_t>(end - begin));
    reject(begin, end, index, fault == Fault::too_deep ? Reject::too_deep : Reject::malformed_json, -1,
           detail::fault_message(fault, text, at));
}

void JsonDecoder::State::reject_body(Reject reason, std::string message) {
    call.out->reset(*call.schema);
    rows_made = 0;
    reject(call.body.data(), call.body.data() + call.body.size(), 0, reason, -1, std::move(message));
}

bool JsonDecoder::State::is_full() {
    const DecodedEvents& out = *call.out;
    const bool many = out.columns.rows + out.rejected.size() >= events_max;
    if (!many && out.columns.bytes.size() <= column_bytes_max) return false;
    reject_body(Reject::too_large,
                many ? "more than " + std::to_string(events_max) + " events in one request: send it in parts"
                     : "the columns of this request are too large together: send it in parts");
    call.out->too_many = true;
    return true;
}

void JsonDecoder::decode_stored(const Schema& schema, std::string_view event, std::int64_t append_time_ms,
                                const std::vector<bool>& want, ColumnBatch& out) {
    State& s = *state_;
    if (s.stored_identity != schema.identity.value() || s.stored_want != want) {
        s.stored_plan.build(schema, want);
        s.stored_scanner.use(s.stored_plan);
        s.stored_identity = schema.identity.value();
        s.stored_want = want;
    }
    CHECK(out.columns.size() == schema.columns.size());
    // A fault ends the walk; what was found before it is read, so that no column depends on which others are wanted.
    if (s.stored_plan.places() > 0) (void)s.stored_scanner.walk<true>(event.data(), event.data() + event.size());
    const std::size_t row = out.rows;
    for (std::size_t c = 0; c < schema.columns.size(); ++c) {
        ColumnData& column = out.columns[c];
        const PlannedColumn& planned = s.stored_plan.column(c);
        const bool sliced = is_sliced(planned.type);
        column.present.push_back(0);
        if (sliced)
            column.slice.emplace_back();
        else
            column.number.push_back(0);
        if (planned.node == 0 || put_shared(out, c, planned, row)) continue;
        Cell cell;
        if (detail::read_value(planned.type, s.stored_scanner.token(planned.node), out.bytes, s.scratch, cell) ==
            Read::value)
            put_value(column, sliced, row, cell);
        else
            put_absent(out, schema, c, row, planned);
    }
    std::int64_t time_ms = append_time_ms;
    if (schema.event_time >= 0 &&
        detail::read_time(s.stored_scanner.token(s.stored_plan.event_time_node()), s.scratch, time_ms) != Read::value)
        time_ms = append_time_ms;
    out.event_time_ms.push_back(time_ms);
    ++out.rows;
}

}  // namespace weir::record
