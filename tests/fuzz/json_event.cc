// Any bytes as a body and as a stored event. Beside crashes it looks for contradictions: a line must be malformed
// exactly when simdjson's DOM parser refuses it (where the two are meant to agree), and what the door accepted must
// read the same from the log. The first byte picks the
// shape of the body. What passes for a CloudEvent must be one to the DOM, too.
#include "base/limits.h"
#include "record/json.h"
#include "record/path.h"

#include <simdjson.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace {

using namespace weir;
using namespace weir::record;

void require(bool claim) {
    if (!claim) std::abort();
}

Column column(const char* name, ColumnType type, const char* path) {
    Column c;
    c.name = name;
    c.type = type;
    c.path_text = path;
    c.path = parse_path(path).value();
    return c;
}

// Every type, paths through members and elements, two columns of one place.
Schema make_schema(bool lenient) {
    Schema s;
    s.columns = {column("a", ColumnType::text, "$.a"),
                 column("b", ColumnType::integer, "$.b"),
                 column("c", ColumnType::real, "$.c"),
                 column("d", ColumnType::boolean, "$.d"),
                 column("e", ColumnType::timestamp, "$.e"),
                 column("f", ColumnType::json, "$.f"),
                 column("g", ColumnType::blob, "$.g"),
                 column("h", ColumnType::text, "$.f.a[1]"),
                 column("i", ColumnType::json, "$"),
                 column("a2", ColumnType::text, "$.a"),
                 column("k", ColumnType::text, "$.\"longer than eight\"")};
    s.dedup_key = {0};
    s.partition_by = 1;
    s.lenient = lenient;
    if (lenient) s.event_time = 4;
    return s;
}

bool same_value(const Schema& schema, std::size_t c, const ColumnBatch& a, std::size_t row_a, const ColumnBatch& b,
                std::size_t row_b) {
    if (a.columns[c].present[row_a] != b.columns[c].present[row_b]) return false;
    if (a.columns[c].present[row_a] == 0) return true;
    if (is_sliced(schema.columns[c].type)) return a.text(c, row_a) == b.text(c, row_b);
    return a.columns[c].number[row_a] == b.columns[c].number[row_b];
}

// The DOM differs where we mean to: numbers beyond its range, lone surrogates, depth. A line that might hold one of the
// first two is not compared.
bool comparable(std::string_view line) {
    std::size_t digits = 0;
    bool exponent = false;
    for (std::size_t i = 0; i < line.size(); ++i) {
        const char c = line[i];
        digits = c >= '0' && c <= '9' ? digits + 1 : 0;
        if (digits > (exponent ? 2u : 15u)) return false;
        if (digits == 0 && c != '+' && c != '-') exponent = c == 'e' || c == 'E';
        if (c == '\\' && i + 2 < line.size() && line[i + 1] == 'u' && (line[i + 2] == 'd' || line[i + 2] == 'D'))
            return false;
    }
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Schema schemas[] = {make_schema(false), make_schema(true)};
    static JsonDecoder decoder;
    static DecodedEvents out;
    static simdjson::dom::parser dom;
    if (size < 1) return 0;
    const Schema& schema = schemas[data[0] & 1];
    const BodyShape shape = (data[0] & 2) == 0   ? BodyShape::ndjson
                            : (data[0] & 4) == 0 ? BodyShape::json
                                                 : BodyShape::cloudevents;
    const std::size_t length = size - 1;
    const std::unique_ptr<char[]> bytes = std::make_unique<char[]>(length + JsonDecoder::padding_bytes);
    if (length > 0) std::memcpy(bytes.get(), data + 1, length);
    std::memset(bytes.get() + length, data[0], JsonDecoder::padding_bytes);
    const std::string_view body(bytes.get(), length);

    decoder.decode(schema, shape, body, 1'500'000'000'000, FingerprintKey{1}, nullptr, out);
    require(out.lines == out.columns.rows + out.rejected.size());
    ColumnBatch stored;
    stored.reset(schema);
    for (std::size_t row = 0; row < out.columns.rows; ++row) {
        const std::string_view raw = body.substr(out.raw[row].offset, out.raw[row].size);
        decoder.decode_stored(schema, raw, event_time_is_append_time, {}, stored);
        for (std::size_t c = 0; c < schema.columns.size(); ++c)
            require(same_value(schema, c, out.columns, row, stored, row));
        require(stored.event_time_ms[row] == out.columns.event_time_ms[row]);
        simdjson::dom::element element;
        if (comparable(raw)) require(dom.parse(raw.data(), raw.size()).get(element) == simdjson::SUCCESS);
        if (shape == BodyShape::cloudevents && comparable(raw)) {
            for (const char* name : {"specversion", "id", "source", "type"}) {
                std::string_view text;
                require(element[name].get(text) == simdjson::SUCCESS && !text.empty());
                require(name[1] != 'p' || text == "1.0");
            }
        }
    }
    for (const Rejection& r : out.rejected) {
        const std::string_view raw = body.substr(r.raw.offset, r.raw.size);
        require(r.message.size() <= limits::dead_letter_message_bytes_max && simdjson::validate_utf8(r.message));
        simdjson::dom::element element;
        if (shape == BodyShape::ndjson && r.reason == Reject::malformed_json && comparable(raw))
            require(dom.parse(raw.data(), raw.size()).get(element) != simdjson::SUCCESS);
    }
    std::vector<bool> want(schema.columns.size());
    want[data[0] % want.size()] = true;
    decoder.decode_stored(schema, body, 0, want, stored);
    decoder.decode_stored(schema, body, 0, {}, stored);
    const std::size_t c = data[0] % want.size();
    require(same_value(schema, c, stored, stored.rows - 1, stored, stored.rows - 2));
    require(stored.event_time_ms[stored.rows - 1] == stored.event_time_ms[stored.rows - 2]);
    return 0;
}
