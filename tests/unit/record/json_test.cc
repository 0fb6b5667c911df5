#include "record/json.h"

#include "base/limits.h"
#include "base/prng.h"
#include "base/wire.h"
#include "record/path.h"
#include "record/time.h"

#include <catch2/catch_test_macros.hpp>
#include <simdjson.h>

#include <cstring>
#include <memory>
#include <optional>

namespace weir::record {
namespace {

constexpr std::int64_t now_ms = 1'500'000'000'000;  // 2017-07-14T02:40:00Z

Column column(std::string name, ColumnType type, std::string path = "") {
    Column c;
    c.name = name;
    c.type = type;
    c.path_text = path.empty() ? "$." + name : path;
    Result<std::vector<PathStep>> parsed = parse_path(c.path_text);
    REQUIRE(parsed);
    c.path = std::move(parsed).value();
    return c;
}

Column with_default(Column c, std::string sql) {
    c.default_sql = std::move(sql);
    return c;
}

Column not_null(Column c) {
    c.not_null = true;
    return c;
}

Schema schema_of(std::vector<Column> columns) {
    Schema s;
    s.columns = std::move(columns);
    return s;
}

// The stream `access` of the outside contract.
Schema access_schema() {
    Schema s =
        schema_of({column("event_id", ColumnType::text), column("event_type", ColumnType::text),
                   column("user_id", ColumnType::text), column("method", ColumnType::text, "$.properties.method"),
                   column("path", ColumnType::text, "$.properties.path"),
                   not_null(column("status", ColumnType::integer, "$.properties.status")),
                   column("bytes", ColumnType::integer, "$.properties.bytes"),
                   column("ts", ColumnType::timestamp, "$.timestamp")});
    s.event_time = 7;
    s.dedup_key = {0};
    s.partition_by = 2;
    return s;
}

// A body whose padding is hostile: whatever is behind the end must not be read as part of the event.
class Body {
  public:
    explicit Body(std::string_view text, char behind = '"')
        : size_(text.size()), bytes_(std::make_unique<char[]>(text.size() + JsonDecoder::padding_bytes)) {
        if (!text.empty()) std::memcpy(bytes_.get(), text.data(), text.size());
        std::memset(bytes_.get() + size_, behind, JsonDecoder::padding_bytes);
    }
    std::string_view view() const { return {bytes_.get(), size_}; }

  private:
    std::size_t size_;
    std::unique_ptr<char[]> bytes_;
};

DecodedEvents decode(const Schema& schema, BodyShape shape, std::string_view text, ColumnCheck* check = nullptr) {
    static JsonDecoder decoder;  // one for all: whatever it caches must not leak from one schema to the next
    DecodedEvents out;
    const Body body(text);
    decoder.decode(schema, shape, body.view(), now_ms, FingerprintKey{42}, check, out);
    CHECK(out.lines == out.columns.rows + out.rejected.size());
    CHECK(out.raw.size() == out.columns.rows);
    CHECK(out.index.size() == out.columns.rows);
    CHECK(out.fingerprint.size() == out.columns.rows);
    CHECK(out.partition.size() == out.columns.rows);
    CHECK(out.key.size() == out.columns.rows);
    CHECK(out.columns.event_time_ms.size() == out.columns.rows);
    for (std::size_t c = 0; c < schema.columns.size(); ++c) {
        const ColumnData& data = out.columns.columns[c];
        CHECK(data.present.size() == out.columns.rows);
        CHECK((is_sliced(schema.columns[c].type) ? data.slice.size() : data.number.size()) == out.columns.rows);
    }
    for (const Rejection& r : out.rejected) {
        CHECK_FALSE(r.message.empty());
        CHECK(r.message.size() <= limits::dead_letter_message_bytes_max);
        CHECK(simdjson::validate_utf8(r.message));
    }
    return out;
}

// A value as text: "null", numbers in decimal, the rest as it is.
std::string shown(const Schema& schema, const ColumnBatch& batch, std::size_t c, std::size_t row) {
    if (batch.columns[c].present[row] == 0) return "null";
    if (is_sliced(schema.columns[c].type)) return std::string(batch.text(c, row));
    if (schema.columns[c].type == ColumnType::real) {
        char text[64];
        std::snprintf(text, sizeof text, "%.17g", batch.real(c, row));
        return text;
    }
    return std::to_string(batch.columns[c].number[row]);
}

std::string shown_row(const Schema& schema, const ColumnBatch& batch, std::size_t row) {
    std::string out;
    for (std::size_t c = 0; c < schema.columns.size(); ++c)
        out += (c > 0 ? "," : "") + shown(schema, batch, c, row);
    return out;
}

// The first rejection's name, or the first row's values.
std::string outcome(const Schema& schema, std::string_view text, BodyShape shape = BodyShape::ndjson) {
    const DecodedEvents out = decode(schema, shape, text);
    if (!out.rejected.empty()) return std::string(reject_name(out.rejected[0].reason));
    if (out.columns.rows == 0) return "nothing";
    return shown_row(schema, out.columns, 0);
}

std::string message(const Schema& schema, std::string_view text) {
    const DecodedEvents out = decode(schema, BodyShape::ndjson, text);
    REQUIRE(out.rejected.size() == 1);
    return out.rejected[0].message;
}

std::string nested(std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
}

TEST_CASE("an access event becomes eight columns, a key, a partition and a fingerprint") {
    const Schema schema = access_schema();
    const std::string text =
        R"({"event_id":"e1","event_type":"http_access","timestamp":"2015-05-17T10:05:00Z","user_id":"83.149.9.216",)"
        R"("properties":{"method":"GET","path":"/a\/b\u00e9","status":200,"bytes":25230,"referrer":null,"agent":"x"}})";
    const DecodedEvents out = decode(schema, BodyShape::ndjson, text + "\r\n");
    REQUIRE(out.columns.rows == 1);
    CHECK(shown_row(schema, out.columns, 0) == "e1,http_access,83.149.9.216,GET,/a/b\xC3\xA9,200,25230,1431857100000");
    CHECK(out.columns.event_time_ms[0] == 1'431'857'100'000);
    CHECK(out.raw[0].offset == 0);
    CHECK(out.raw[0].size == text.size());
    CHECK(out.columns.bytes.substr(out.key[0].offset, out.key[0].size) == "83.149.9.216");
    CHECK(out.partition[0] == static_cast<std::int32_t>((murmur2("83.149.9.216") & 0x7fffffff) % 4));
    std::string typed;
    WireWriter writer(typed);
    writer.u8(static_cast<std::uint8_t>(ColumnType::text));
    writer.bytes("e1");
    CHECK(out.fingerprint[0] == fingerprint(FingerprintKey{42}, typed));
}

void text_is(std::string_view json, std::string_view want) {
    INFO(json);
    CHECK(outcome(schema_of({column("x", ColumnType::text)}), "{\"x\":" + std::string(json) + "}") == want);
}
void value_is(ColumnType type, std::string_view json, std::string_view want) {
    INFO(type_name(type) << " " << json);
    CHECK(outcome(schema_of({column("x", type)}), "{\"x\":" + std::string(json) + "}") == want);
}

TEST_CASE("TEXT is a string without its escapes, or a token") {
    text_is(R"("abc")", "abc");
    text_is(R"("")", "");
    text_is(R"("a\"\\\/\b\f\n\r\tz")", "a\"\\/\b\f\n\r\tz");
    text_is(R"("\u0041\u00e9\u20AC\ud83d\ude00")", "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    text_is(R"("\u0000")", std::string_view("\0", 1));
    text_is("\"\xF0\x9F\x98\x80\"", "\xF0\x9F\x98\x80");
    text_is("\"" + std::string(1000, 'q') + "\"", std::string(1000, 'q'));
    text_is("12", "12");
    text_is("-0", "-0");
    text_is("1.50e+3", "1.50e+3");
    text_is("1e999", "1e999");
    text_is("true", "true");
    text_is("false", "false");
    text_is("null", "null");
    text_is("{}", "wrong_type");
    text_is("[]", "wrong_type");
}

TEST_CASE("INTEGER is written as one and fits 64 bits") {
    const auto is = [](std::string_view json, std::string_view want) { value_is(ColumnType::integer, json, want); };
    is("0", "0");
    is("-0", "0");
    is("200", "200");
    is("9223372036854775807", "9223372036854775807");
    is("-9223372036854775808", "-9223372036854775808");
    is("9223372036854775808", "wrong_type");
    is("-9223372036854775809", "wrong_type");
    is("18446744073709551616", "wrong_type");
    is("100000000000000000000000000", "wrong_type");
    is("1.0", "wrong_type");
    is("1e3", "wrong_type");
    is("\"1\"", "wrong_type");
    is("true", "wrong_type");
    is("null", "null");
    is("{}", "wrong_type");
}

TEST_CASE("REAL is a finite number") {
    const auto is = [](std::string_view json, std::string_view want) { value_is(ColumnType::real, json, want); };
    is("0", "0");
    is("-0.0", "-0");
    is("0.5", "0.5");
    is("1.5e3", "1500");
    is("1E-2", "0.01");
    is("9007199254740993", "9007199254740992");
    is("1.7976931348623157e308", "1.7976931348623157e+308");
    is("1.7976931348623159e308", "wrong_type");
    is("4.9406564584124654e-324", "4.9406564584124654e-324");
    is("1e-400", "0");
    is("-1e-400", "-0");
    is("0.0000001e-9999999999999999999999", "0");
    is("0e9999999999999999999999", "0");
    is("0.000e400", "0");
    is("1e400", "wrong_type");
    is("-1e400", "wrong_type");
    is("1e9999999999999999999999", "wrong_type");
    is("1" + std::string(400, '0'), "wrong_type");
    is("1" + std::string(400, '0') + "e-400", "1");
    is("0." + std::string(400, '0') + "1", "0");
    is("\"1.5\"", "wrong_type");
    is("true", "wrong_type");
}

TEST_CASE("BOOLEAN, JSON and BLOB") {
    value_is(ColumnType::boolean, "true", "1");
    value_is(ColumnType::boolean, "false", "0");
    value_is(ColumnType::boolean, "1", "wrong_type");
    value_is(ColumnType::boolean, "\"true\"", "wrong_type");

    value_is(ColumnType::json, "{ \"a\" : [1, 2.50] }", "{ \"a\" : [1, 2.50] }");
    value_is(ColumnType::json, "[ ]", "[ ]");
    value_is(ColumnType::json, R"("a\u0041")", R"("a\u0041")");
    value_is(ColumnType::json, " 1e999 ", "1e999");
    value_is(ColumnType::json, "true", "true");
    value_is(ColumnType::json, "null", "null");

    value_is(ColumnType::blob, R"("")", "");
    value_is(ColumnType::blob, R"("TQ==")", "M");
    value_is(ColumnType::blob, R"("TWE=")", "Ma");
    value_is(ColumnType::blob, R"("TWFu")", "Man");
    value_is(ColumnType::blob, R"("TWFuTQ==")", "ManM");
    value_is(ColumnType::blob, R"("\/+\/+")", "\xFF\xEF\xFE");
    for (const char* bad : {R"("TQ")", R"("TQ=")", R"("T===")", R"("====")", R"("=")", R"("TQ==TWFu")", R"("TW-_")",
                            R"("TW u")", R"("TWF\n")", "12", "[]", "true"})
        value_is(ColumnType::blob, bad, "wrong_type");
}

TEST_CASE("TIMESTAMP is RFC 3339 or epoch milliseconds") {
    const auto is = [](std::string_view json, std::string_view want) { value_is(ColumnType::timestamp, json, want); };
    is(R"("2015-05-17T10:05:00Z")", "1431857100000");
    is(R"("2015-05-17T12:05:00.1239+02:00")", "1431857100123");
    is(R"("2015-05-17T10\u003a05:00Z")", "1431857100000");
    is("1431857100000", "1431857100000");
    is("-1431857100000", "-1431857100000");
    is("100000000000", "100000000000");
    is("-100000000000", "-100000000000");
    is("99999999999", "wrong_type");
    is("-99999999999", "wrong_type");
    is("0", "wrong_type");
    is("1431857100000.0", "wrong_type");
    is("4611686018427387904", "4611686018427387904");
    is("-4611686018427387905", "wrong_type");
    is("9223372036854775807", "wrong_type");
    is(R"("2015-05-17")", "wrong_type");
    is(R"("1431857100000")", "wrong_type");
    is("true", "wrong_type");
    CHECK(message(schema_of({column("x", ColumnType::timestamp)}), R"({"x":1431857100})").ends_with("seconds?"));
}

TEST_CASE("a path leads through members, elements, and escaped or quoted keys") {
    const auto is = [](std::string path, std::string_view event, std::string_view want) {
        INFO(path << " in " << event);
        CHECK(outcome(schema_of({column("x", ColumnType::json, std::move(path))}), event) == want);
    };
    is("$", R"( {"a": 1} )", R"({"a": 1})");
    is("$.a.b.c", R"({"a":{"b":{"c":7}}})", "7");
    is("$.a.b", R"({"a":{"b":{"c":7}}})", R"({"c":7})");
    is("$.a.b", R"({"a":[{"b":1}]})", "null");
    is("$.a.b", R"({"a":"b"})", "null");
    is("$.a[0]", R"({"a":[ 1 ,2]})", "1");
    is("$.a[2]", R"({"a":[1,{"b":[9,9,9]},3]})", "3");
    is("$.a[2]", R"({"a":[1,2]})", "null");
    is("$.a[0]", R"({"a":{"0":1}})", "null");
    is("$.a[1].b[1]", R"({"a":[{"b":[1,2]},{"b":[3,4]}]})", "4");
    is("$[0]", R"({"a":1})", "null");
    is("$.\"a.b\"", R"({"a":{"b":1},"a.b":2})", "2");
    is("$.\"\"", R"({"a":1,"":2})", "2");
    is("$.abcdefgh", R"({"abcdefg":1,"abcdefgh":2,"abcdefghi":3})", "2");
    is("$.abcdefghijklm", R"({"abcdefghijkl":1,"abcdefghijklX":2,"abcdefghijklm":3})", "3");
    is("$.abc", R"({"\u0061b\u0063":5})", "5");
    is("$.\"a\\\"b\"", R"({"a\"b":5})", "5");
    is("$.\xC3\xA9", R"({"\u00e9":5})", "5");
    is("$.\xC3\xA9", "{\"\xC3\xA9\":6}", "6");
}

TEST_CASE("the first of duplicate keys is read, also when it is null or of another kind") {
    const auto is = [](std::string path, std::string_view event, std::string_view want) {
        INFO(event);
        CHECK(outcome(schema_of({column("x", ColumnType::json, std::move(path))}), event) == want);
    };
    is("$.a", R"({"a":1,"a":2})", "1");
    is("$.a", R"({"a":null,"a":2})", "null");
    is("$.a", R"({"\u0061":1,"a":2})", "1");
    is("$.a.b", R"({"a":{"b":1},"a":{"b":2}})", "1");
    is("$.a.b", R"({"a":{"c":1},"a":{"b":2}})", "null");
    is("$.a.b", R"({"a":3,"a":{"b":2}})", "null");
    is("$.a[1]", R"({"a":[1],"a":[1,2]})", "null");
}

TEST_CASE("columns of one place share what was read, each with its own constraints") {
    const Schema schema = schema_of({column("a", ColumnType::text, "$.v"), column("b", ColumnType::text, "$.v"),
                                     column("c", ColumnType::json, "$.v"), column("d", ColumnType::integer, "$.v"),
                                     with_default(column("e", ColumnType::text, "$.v"), "'none'")});
    CHECK(outcome(schema, R"({"v":12})") == "12,12,12,12,12");
    CHECK(outcome(schema, R"({})") == "null,null,null,null,none");
    CHECK(outcome(schema, R"({"v":"s"})") == "wrong_type");
    CHECK(outcome(schema_of({column("a", ColumnType::text, "$.v"), not_null(column("b", ColumnType::text, "$.v"))}),
                  "{}") == "not_null");
}

TEST_CASE("a DEFAULT that is a literal stands in for what is absent") {
    const auto is = [](ColumnType type, std::string sql, std::string_view want) {
        INFO(sql);
        CHECK(outcome(schema_of({with_default(column("x", type), std::move(sql))}), R"({"x":null})") == want);
    };
    is(ColumnType::text, "'it''s'", "it's");
    is(ColumnType::text, "12.50", "12.50");
    is(ColumnType::integer, "7", "7");
    is(ColumnType::integer, "(-7)", "-7");
    is(ColumnType::integer, "'7'", "null");
    is(ColumnType::integer, "1.5", "null");
    is(ColumnType::integer, "1 + 1", "null");
    is(ColumnType::integer, "NULL", "null");
    is(ColumnType::integer, "99999999999999999999", "null");
    is(ColumnType::real, "1.5", "1.5");
    is(ColumnType::real, "+2", "2");
    is(ColumnType::boolean, "true", "1");
    is(ColumnType::boolean, "FALSE", "0");
    is(ColumnType::boolean, "1", "1");
    is(ColumnType::timestamp, "'2015-05-17'", "1431820800000");
    is(ColumnType::timestamp, "1431857100000", "1431857100000");
    is(ColumnType::json, R"('{"a":1}')", R"({"a":1})");
    is(ColumnType::blob, "x'4d61'", "Ma");
    is(ColumnType::blob, "x'4d6'", "null");
    is(ColumnType::text, "'open", "null");
    is(ColumnType::text, "'a' || 'b'", "null");
    const Schema schema = schema_of({not_null(with_default(column("x", ColumnType::integer), "7"))});
    CHECK(outcome(schema, "{}") == "7");
    CHECK(outcome(schema, R"({"x":"7"})") == "wrong_type");
}

TEST_CASE("a DEFAULT suits its column, or says why not") {
    const auto fault = [](ColumnType type, std::string_view literal) { return default_fault(type, literal); };
    CHECK(fault(ColumnType::text, "'x'").empty());
    CHECK(fault(ColumnType::integer, "-3").empty());
    CHECK(fault(ColumnType::real, "1e-05").empty());
    CHECK(fault(ColumnType::boolean, "1").empty());
    CHECK(fault(ColumnType::timestamp, "'2020-01-01T00:00:00Z'").empty());
    CHECK(fault(ColumnType::timestamp, "1577836800000").empty());
    CHECK(fault(ColumnType::json, R"('{"a":[1,2]}')").empty());
    CHECK(fault(ColumnType::blob, "x'00ff'").empty());
    CHECK(fault(ColumnType::integer, "'7'") == "'7' is no INTEGER");
    CHECK(fault(ColumnType::integer, "1.5") == "1.5 is no INTEGER");
    CHECK(fault(ColumnType::boolean, "2") == "2 is no BOOLEAN");
    CHECK(fault(ColumnType::timestamp, "'yesterday'").find("write '2026-01-31T12:00:00Z'") != std::string::npos);
    CHECK(fault(ColumnType::timestamp, "1577836800").find("seconds?") != std::string::npos);
    CHECK(fault(ColumnType::json, "'{'").find("is no JSON: ") != std::string::npos);
    CHECK(fault(ColumnType::blob, "'a'").find("write x'00ff'") != std::string::npos);
}

void malformed(std::string_view text) {
    INFO(text);
    CHECK(outcome(schema_of({column("x", ColumnType::json)}), text) == "malformed_json");
}
void well_formed(std::string_view text) {
    INFO(text);
    CHECK(outcome(schema_of({column("x", ColumnType::text)}), text) != "malformed_json");
}

TEST_CASE("a syntax error anywhere makes an event malformed, in what nobody reads too") {
    for (const char* value : {"tru",
                              "truE",
                              "nul",
                              "nulll",
                              "falsee",
                              "True",
                              "NaN",
                              "Infinity",
                              "01",
                              "-",
                              "-a",
                              "-01",
                              "1.",
                              ".5",
                              "1.e1",
                              "1e",
                              "1e+",
                              "+1",
                              "0x1",
                              "1_000",
                              "1 2",
                              "'a'",
                              "\"a",
                              "\"\\x\"",
                              "\"\\u12\"",
                              "\"\\u12g4\"",
                              "\"\\\"",
                              "\"\\ud800\"",
                              "\"\\ud800\\u0041\"",
                              "\"\\ud800\\ud800\"",
                              "\"\\udc00\"",
                              "\"\\udc00\\ud800\"",
                              "\"a\tb\"",
                              "\"\x01\"",
                              "[1,]",
                              "[,1]",
                              "[1 2]",
                              "[1",
                              "1]",
                              "{",
                              "}",
                              "{\"a\"}",
                              "{\"a\":}",
                              "{\"a\":1,}",
                              "{,}",
                              "{a:1}",
                              "{1:1}",
                              "{\"a\" 1}",
                              "{\"a\"::1}",
                              "{\"a\":1 \"b\":2}",
                              "[}",
                              "{]",
                              "",
                              "//",
                              "/**/1",
                              "\"\xFF\"",
                              "\"\xC3\"",
                              "\"\xED\xA0\x80\"",
                              "\"\xC0\x80\"",
                              "\"\xF5\x80\x80\x80\"",
                              "\xC2\xA0"
                              "1",
                              "\f1",
                              "\v1",
                              "\"a\"b",
                              "1a"}) {
        for (const char* key : {"x", "unread"}) {
            malformed(std::string("{\"") + key + "\":" + value + "}");
            malformed(std::string("{\"a\":[{\"") + key + "\":" + value + "}]}");
        }
    }
    for (const char* line : {"{", "}", "{}{}", "{} {}", "{},", "[{}]]", "{\"a\\x\":1}", "{\"\\ud800\":1}",
                             "{\"a\n\":1}", "x", "{}x", "{\"a\":1}\\", "\xEF\xBB\xBF\xEF\xBB\xBF{}", "{\"a\":1}\r{}",
                             "{\"x\":1", "{\"x\":tru", "{\"x\":12", "{\"x\":\"\\"})
        malformed(line);
    malformed(std::string_view("{\"x\":1}\0", 8));
    malformed(std::string_view("{\"x\":\"a\0\"}", 10));
    for (const char* line :
         {"{}", " {\t}\r", "{\"x\":[]}", "{\"x\" : [ 1 , 2 ] , \"y\" : { } }", "{\"x\":\"\x7f\"}",
          "{\"x\":\"\xEF\xBF\xBF\"}", "{\"\":0}", "{\"x\":-0.0e-0}", "{\"x\":\"\\ud83d\\ude00\"}", "{\"x\":\"\\\\\"}"})
        well_formed(line);
}

TEST_CASE("of malformed and too deep whichever comes first in the bytes") {
    const Schema schema = schema_of({column("x", ColumnType::integer)});
    const std::size_t most = limits::json_depth_max - 1;  // the event itself is the first level
    CHECK(outcome(schema, "{\"a\":" + nested(most) + "}") == "null");
    CHECK(outcome(schema, "{\"a\":" + nested(most + 1) + "}") == "too_deep");
    CHECK(outcome(schema, "{\"a\":" + nested(most + 1) + ",}") == "too_deep");
    CHECK(outcome(schema, "{\"b\":01,\"a\":" + nested(most + 1) + "}") == "malformed_json");
    CHECK(outcome(schema, "{\"b\":\"\xFF\",\"a\":" + nested(most + 1) + "}") == "malformed_json");
    CHECK(outcome(schema, "{\"a\":" + nested(most + 1) + ",\"b\":\"\xFF\"}") == "too_deep");
    CHECK(outcome(schema, "{\"a\":" + std::string(most + 1, '[')) == "too_deep");
    CHECK(outcome(schema, "{\"a\":" + std::string(most, '[')) == "malformed_json");
    CHECK(outcome(schema, nested(limits::json_depth_max)) == "not_an_object");
    CHECK(outcome(schema, nested(limits::json_depth_max + 1)) == "too_deep");
    CHECK(outcome(schema, std::string(1'000'000, '[')) == "too_deep");
    CHECK(outcome(schema, "{\"a\":\"" + std::string(1'000'000, '[') + "\"}") == "null");
    std::string objects = "{}";
    for (std::size_t i = 0; i < most; ++i)
        objects = "{\"a\":" + objects + "}";
    CHECK(outcome(schema, objects) == "null");
    CHECK(outcome(schema, "{\"a\":" + objects + "}") == "too_deep");
}

TEST_CASE("an event above the limit is too large, whatever else it is") {
    const Schema schema = schema_of({column("x", ColumnType::text)});
    const std::size_t most = limits::event_bytes_max;
    CHECK(outcome(schema, "{\"x\":\"" + std::string(most - 8, 'a') + "\"}") == std::string(most - 8, 'a'));
    CHECK(outcome(schema, "{\"x\":\"" + std::string(most - 7, 'a') + "\"}") == "too_large");
    CHECK(outcome(schema, std::string(most + 1, '[')) == "too_large");
    const DecodedEvents out =
        decode(schema, BodyShape::json, "[{\"x\":\"" + std::string(most - 7, 'a') + "\"},{\"x\":\"b\"}]");
    REQUIRE(out.rejected.size() == 1);
    CHECK(out.rejected[0].reason == Reject::too_large);
    CHECK(out.rejected[0].index == 0);
    REQUIRE(out.columns.rows == 1);
    CHECK(out.index[0] == 1);
}

TEST_CASE("the checks run in their order") {
    const Schema schema = access_schema();
    const auto is = [&](std::string_view event, std::string_view want) {
        INFO(event);
        CHECK(outcome(schema, event) == want);
    };
    const std::string tail = R"(,"timestamp":"2015-05-17T10:05:00Z","properties":{"status":200}})";
    is(R"({"event_id":"a")" + tail, "a,null,null,null,null,200,null,1431857100000");
    is("42", "not_an_object");
    is("[1,2,19]", "not_an_object");
    is("\"x\"", "not_an_object");
    is("null", "not_an_object");
    is("{}", "missing_dedup_key");
    is(R"({"event_id":null})", "missing_dedup_key");
    is(R"({"event_id":{}})", "bad_event_time");
    is(R"({"event_id":{})" + tail, "wrong_type");
    is(R"({"event_id":"a","properties":{}})", "bad_event_time");
    is(R"({"event_id":"a","timestamp":null})", "bad_event_time");
    is(R"({"event_id":"a","timestamp":"yesterday"})", "bad_event_time");
    is(R"({"event_id":"a","timestamp":1431857100})", "bad_event_time");
    is(R"({"event_id":"a","timestamp":{}})", "bad_event_time");
    is(R"({"event_id":"a","timestamp":1500003600001})", "future_event_time");
    is(R"({"event_id":"a","timestamp":1500003600000})", "not_null");
    is(R"({"event_id":"a","timestamp":1500003600000,"properties":{"status":1}})",
       "a,null,null,null,null,1,null,1500003600000");
    is(R"({"event_id":"a","timestamp":4611686018427387904})", "future_event_time");
    is(R"({"event_id":"a","timestamp":-4611686018427387904,"properties":{"status":1}})",
       "a,null,null,null,null,1,null,-4611686018427387904");
    is(R"({"event_id":"a","timestamp":"2015-05-17T10:05:00Z","properties":{"status":"200","bytes":true}})",
       "wrong_type");
    is(R"({"event_id":"a","timestamp":"2015-05-17T10:05:00Z","properties":{"bytes":true}})", "not_null");
    is(R"({"event_id":"a","timestamp":"2015-05-17T10:05:00Z","user_id":[],"properties":{}})", "wrong_type");
}

TEST_CASE("messages say where, what was expected and what stood there") {
    const Schema schema = access_schema();
    const std::string head = R"({"event_id":"a","timestamp":"2015-05-17T10:05:00Z","properties":{)";
    CHECK(message(schema, head + R"("status":"abc"}})") == R"($.properties.status: expected INTEGER, got "abc")");
    CHECK(message(schema, head + R"("status":[1]}})") == "$.properties.status: expected INTEGER, got an array");
    CHECK(message(schema, head + R"("status":null}})") == "$.properties.status: NOT NULL, but it is null");
    CHECK(message(schema, "{}") == "$.event_id: a column of the DEDUP KEY is absent");
    CHECK(message(schema, R"({"event_id":"a"})") == "$.timestamp: the EVENT TIME is absent");
    CHECK(message(schema, R"({"event_id":"a","timestamp":12})") ==
          "$.timestamp: expected TIMESTAMP (RFC 3339, or epoch milliseconds), got 12; seconds?");
    CHECK(
        message(schema, R"({"event_id":"a","timestamp":1600000000000})") ==
        "$.timestamp: 2020-09-13T12:26:40.000Z is more than 1h ahead of the server's clock (2017-07-14T02:40:00.000Z)");
    CHECK(message(schema, "[1]") == "expected a JSON object, got an array");
    CHECK(message(schema, R"({"a" 1})") == "byte 5: expected ':' behind a member name, got '1'");
    CHECK(message(schema, R"({"a":1)") == "byte 6: expected ',' or '}', got the end");
    CHECK(message(schema, "{\"a\":\"\xFF\"}") == "byte 6: not UTF-8, got byte 0xff");
    CHECK(message(schema, nested(65)) == "byte 64: nested too deeply, at most 64 levels");
    const std::string euros = [] {
        std::string text;
        for (int i = 0; i < 300; ++i)
            text += "\xE2\x82\xAC";
        return text;
    }();
    (void)message(schema, head + "\"status\":\"" + euros + "\"}}");  // decode() above checks that the cut is UTF-8
    Schema long_path = schema_of({column("x", ColumnType::integer, "$.a" + euros)});
    CHECK(message(long_path, "{\"a" + euros + "\":\"b\"}").size() > 500);
}

TEST_CASE("NDJSON is cut at LF; blank lines, CR and the byte order mark are skipped but counted") {
    const Schema schema = schema_of({column("x", ColumnType::text)});
    const std::string text = "\xEF\xBB\xBF{\"x\":1}\r\n\n  \t\r\n{\"x\":\n2}\n{\"x\":3} \r\n\r\n{\"x\":4}";
    const DecodedEvents out = decode(schema, BodyShape::ndjson, text);
    REQUIRE(out.columns.rows == 3);
    CHECK(out.index == std::vector<std::uint32_t>{0, 5, 7});
    CHECK(text.substr(out.raw[0].offset, out.raw[0].size) == "{\"x\":1}");
    CHECK(text.substr(out.raw[1].offset, out.raw[1].size) == "{\"x\":3} ");
    CHECK(text.substr(out.raw[2].offset, out.raw[2].size) == "{\"x\":4}");
    REQUIRE(out.rejected.size() == 2);
    CHECK(out.rejected[0].index == 3);
    CHECK(out.rejected[1].index == 4);
    CHECK(text.substr(out.rejected[1].raw.offset, out.rejected[1].raw.size) == "2}");
    CHECK(out.lines == 5);
    for (const char* nothing : {"", "\n", "\n\n", "\r\n", "\xEF\xBB\xBF", "\xEF\xBB\xBF\n", " ", "\r"}) {
        CHECK(outcome(schema, nothing) == "nothing");
        CHECK(outcome(schema, nothing, BodyShape::json) == "nothing");
    }
}

TEST_CASE("bad UTF-8 is a matter of its own line") {
    const Schema schema = schema_of({column("x", ColumnType::text)});
    std::string text;
    for (int i = 0; i < 5000; ++i)
        text += i % 1000 == 500 ? "{\"x\":\"\xE2\x82\"}\n" : "{\"x\":\"\xE2\x82\xAC\"}\n";
    text += "{\"x\":\"\xE2";
    const DecodedEvents out = decode(schema, BodyShape::ndjson, text);
    CHECK(out.columns.rows == 4995);
    REQUIRE(out.rejected.size() == 6);
    for (std::size_t i = 0; i < 5; ++i)
        CHECK(out.rejected[i].index == i * 1000 + 500);
    CHECK(out.rejected[5].index == 5000);
}

TEST_CASE("a JSON body is one event or an array of them") {
    const Schema schema = schema_of({column("x", ColumnType::text)});
    const std::string text = " [ {\"x\":1 } , 7,\n{\"x\":{}},{\"x\":\"b\"}\r\n] ";
    const DecodedEvents out = decode(schema, BodyShape::json, text);
    REQUIRE(out.columns.rows == 2);
    CHECK(out.index == std::vector<std::uint32_t>{0, 3});
    CHECK(text.substr(out.raw[0].offset, out.raw[0].size) == "{\"x\":1 }");
    CHECK(text.substr(out.raw[1].offset, out.raw[1].size) == "{\"x\":\"b\"}");
    REQUIRE(out.rejected.size() == 2);
    CHECK(out.rejected[0].reason == Reject::not_an_object);
    CHECK(text.substr(out.rejected[0].raw.offset, out.rejected[0].raw.size) == "7");
    CHECK(out.rejected[1].reason == Reject::wrong_type);
    CHECK(out.rejected[1].index == 2);

    const auto is = [&](std::string_view body, std::string_view want) {
        INFO(body);
        CHECK(outcome(schema, body, BodyShape::json) == want);
    };
    is("\xEF\xBB\xBF \n{\n\"x\":\n1}\n", "1");
    is("[]", "nothing");
    is(" [ ] ", "nothing");
    is("7", "not_an_object");
    is("[[{}]]", "not_an_object");
    is("[" + nested(64) + "]", "not_an_object");
    for (const char* body :
         {"[", "[{}", "[{},", "[{},]", "[,{}]", "[{} {}]", "[{}]x", "[{}],", "[{}][{}]", "{}{}", "{}\n{}", "]", "[}",
          "x", "[{},{\"x\":tru}]", "[{\"x\":1},{\"y\":\"\xFF\"}]", "{\"y\":\"\xFF\"}", "[{}]\xFF"}) {
        INFO(body);
        const DecodedEvents whole = decode(schema, BodyShape::json, body);
        REQUIRE(whole.rejected.size() == 1);
        CHECK(whole.columns.rows == 0);
        CHECK(whole.lines == 1);
        CHECK(whole.rejected[0].reason == Reject::malformed_json);
        CHECK(whole.rejected[0].index == 0);
        CHECK(whole.rejected[0].raw.offset == 0);
        CHECK(whole.rejected[0].raw.size == std::strlen(body));
    }
    const auto whole_is = [&](const std::string& body, Reject want) {
        INFO(body);
        const DecodedEvents whole = decode(schema, BodyShape::json, body);
        REQUIRE(whole.rejected.size() == 1);
        CHECK(whole.rejected[0].reason == want);
        CHECK(whole.rejected[0].raw.size == body.size());
    };
    whole_is("[{}," + nested(65) + "]", Reject::too_deep);
    whole_is("[{}," + nested(65), Reject::too_deep);
    whole_is("[{}," + nested(65) + ",\"\xFF\"]", Reject::too_deep);
    whole_is("[{},\"\xFF\"," + nested(65) + "]", Reject::malformed_json);
    whole_is("[{},tru," + nested(65) + "]", Reject::malformed_json);
    whole_is("\n " + nested(66) + "\n", Reject::too_deep);  // the batch's own brackets do not count
}

TEST_CASE("what is cut into lines decodes as what comes in an array") {
    const Schema schema = access_schema();
    std::string lines, array = "[";
    for (int i = 0; i < 300; ++i) {
        const std::string event =
            "{\"event_id\":\"" + std::to_string(i) + "\",\"timestamp\":" + std::to_string(1'431'857'100'000 + i) +
            (i % 7 == 0 ? "}" : ",\"user_id\":" + std::to_string(i % 5) + ",\"properties\":{\"status\":200}}");
        lines += event + "\n";
        array += (i > 0 ? "," : "") + event;
    }
    const DecodedEvents a = decode(schema, BodyShape::ndjson, lines);
    const DecodedEvents b = decode(schema, BodyShape::json, array + "]");
    REQUIRE(a.columns.rows == b.columns.rows);
    CHECK(a.index == b.index);
    CHECK(a.partition == b.partition);
    CHECK(a.fingerprint == b.fingerprint);
    CHECK(a.rejected.size() == b.rejected.size());
    for (std::size_t row = 0; row < a.columns.rows; ++row)
        CHECK(shown_row(schema, a.columns, row) == shown_row(schema, b.columns, row));
}

struct Keyed {
    std::string key;
    std::int32_t partition;
    bool dedup;
};

Keyed keyed(const Schema& schema, std::string_view event) {
    const DecodedEvents out = decode(schema, BodyShape::ndjson, event);
    REQUIRE(out.columns.rows == 1);
    return {out.columns.bytes.substr(out.key[0].offset, out.key[0].size), out.partition[0],
            out.fingerprint[0].has_key()};
}

TEST_CASE("the key is the BY column's text, else that of the dedup key, else there is none") {
    const auto partition = [](std::string_view text) {
        return static_cast<std::int32_t>((murmur2(text) & 0x7fffffff) % 4);
    };
    Schema schema =
        schema_of({column("id", ColumnType::text), column("n", ColumnType::integer), column("r", ColumnType::real),
                   column("b", ColumnType::boolean), column("t", ColumnType::timestamp)});
    const auto is = [&](int by, std::vector<int> dedup, std::string_view event, std::string_view key,
                        bool no_partition = false) {
        INFO(event);
        schema.partition_by = by;
        schema.dedup_key = std::move(dedup);
        const Keyed got = keyed(schema, event);
        CHECK(got.key == key);
        CHECK(got.partition == (no_partition ? -1 : partition(key)));
        CHECK(got.dedup == !schema.dedup_key.empty());
    };
    const std::string_view all = R"({"id":"\u0041","n":-0,"r":15e-1,"b":true,"t":"2015-05-17T12:05:00+02:00"})";
    is(0, {}, all, "A");
    is(1, {}, all, "0");
    is(2, {}, all, "1.5");
    is(3, {}, all, "true");
    is(4, {}, all, "2015-05-17T10:05:00.000Z");
    is(-1, {}, all, "", true);
    is(-1, {0}, all, "A");
    is(-1, {1}, all, "0");
    is(-1, {0, 1, 3}, all, "A|0|true");
    is(1, {0}, all, "0");
    is(1, {0}, R"({"id":"x","n":null})", "x");
    is(1, {}, R"({"id":"x"})", "", true);
    is(0, {}, R"({"id":12.0})", "12.0");
    is(0, {}, R"({"id":""})", "");
}

TEST_CASE("equal typed keys have equal fingerprints, others have not") {
    Schema schema = schema_of({column("a", ColumnType::text), column("b", ColumnType::text),
                               column("n", ColumnType::integer), column("r", ColumnType::real)});
    const auto print = [&](std::vector<int> key, std::string_view event) {
        schema.dedup_key = std::move(key);
        const DecodedEvents out = decode(schema, BodyShape::ndjson, event);
        REQUIRE(out.columns.rows == 1);
        return out.fingerprint[0];
    };
    CHECK(print({0}, R"({"a":"x"})") == print({0}, R"({"b":1,"a":"\u0078"})"));
    CHECK(print({0}, R"({"a":"x"})") != print({0}, R"({"a":"y"})"));
    CHECK(print({0, 1}, R"({"a":"x","b":"yz"})") != print({0, 1}, R"({"a":"xy","b":"z"})"));
    CHECK(print({2}, R"({"n":0})") == print({2}, R"({"n":-0})"));
    CHECK(print({3}, R"({"r":0})") == print({3}, R"({"r":-0.0})"));
    CHECK(print({3}, R"({"r":1})") == print({3}, R"({"r":1.0e0})"));
    CHECK(print({2}, R"({"n":1})") != print({3}, R"({"r":1})"));
    CHECK(print({0}, R"({"a":1})") == print({0}, R"({"a":"1"})"));  // TEXT takes a number's token
}

TEST_CASE("an undeclared stream takes what comes") {
    Schema schema = schema_of(
        {column("event_id", ColumnType::text), column("event_time", ColumnType::timestamp, "$.timestamp"),
         column("key", ColumnType::text), column("n", ColumnType::integer), column("payload", ColumnType::json, "$")});
    schema.lenient = true;
    schema.event_time = 1;
    schema.dedup_key = {0};
    const auto is = [&](std::string_view event, std::string_view want, bool has_time, bool dedup) {
        INFO(event);
        const DecodedEvents out = decode(schema, BodyShape::ndjson, event);
        REQUIRE(out.columns.rows == 1);
        CHECK(shown_row(schema, out.columns, 0) == std::string(want) + "," + std::string(event));
        CHECK((out.columns.event_time_ms[0] != event_time_is_append_time) == has_time);
        CHECK(out.fingerprint[0].has_key() == dedup);
        CHECK((out.partition[0] >= 0) == dedup);
    };
    is("{}", "null,null,null,null", false, false);
    is(R"({"event_id":"a","timestamp":"2015-05-17T10:05:00Z","key":"k","n":1})", "a,1431857100000,k,1", true, true);
    is(R"({"event_id":{},"timestamp":"yesterday","key":[],"n":"x"})", "null,null,null,null", false, false);
    is(R"({"event_id":7,"timestamp":12,"n":1.5})", "7,null,null,null", false, true);
    CHECK(outcome(schema, "[1]") == "not_an_object");
    CHECK(outcome(schema, "{\"a\":}") == "malformed_json");
    CHECK(outcome(schema, R"({"timestamp":"2030-01-01T00:00:00Z"})") == "future_event_time");
}

TEST_CASE("without EVENT TIME the append time stands in") {
    const DecodedEvents out =
        decode(schema_of({column("ts", ColumnType::timestamp)}), BodyShape::ndjson, R"({"ts":1431857100000})");
    REQUIRE(out.columns.rows == 1);
    CHECK(out.columns.event_time_ms[0] == event_time_is_append_time);
}

// Fails rows whose first column is odd, or all of them with an error.
class OddCheck final : public ColumnCheck {
  public:
    bool broken = false;
    Status evaluate(const ColumnBatch& batch, std::vector<std::int32_t>& failed) override {
        REQUIRE(failed.size() == batch.rows);
        if (broken) return Error{Errc::io, "no engine"};
        for (std::size_t row = 0; row < batch.rows; ++row)
            if (batch.columns[0].present[row] != 0 && batch.columns[0].number[row] % 2 != 0) failed[row] = 0;
        return {};
    }
};

TEST_CASE("CHECK takes rows out, and the rejections stay in the order of the request") {
    Schema schema = schema_of({column("n", ColumnType::integer), column("s", ColumnType::text)});
    schema.columns[0].check_sql = "n % 2 = 0";
    const std::string_view text =
        "{\"n\":1,\"s\":\"a\"}\n{\"n\":2,\"s\":\"b\"}\n{\"n\":\"x\"}\n{\"n\":3}\n{\"s\":\"c\"}\n{\"n\":4,\"s\":\"d\"}"
        "\n{\"n\":5}\n";
    OddCheck check;
    const DecodedEvents out = decode(schema, BodyShape::ndjson, text, &check);
    REQUIRE(out.columns.rows == 3);
    CHECK(out.index == std::vector<std::uint32_t>{1, 4, 5});
    CHECK(shown_row(schema, out.columns, 0) == "2,b");
    CHECK(shown_row(schema, out.columns, 1) == "null,c");
    CHECK(shown_row(schema, out.columns, 2) == "4,d");
    REQUIRE(out.rejected.size() == 4);
    const std::uint32_t order[] = {0, 2, 3, 6};
    for (std::size_t i = 0; i < 4; ++i)
        CHECK(out.rejected[i].index == order[i]);
    CHECK(out.rejected[0].reason == Reject::check_failed);
    CHECK(out.rejected[0].column == 0);
    CHECK(out.rejected[0].message == "$.n: CHECK (n % 2 = 0) is false for 1");
    CHECK(out.rejected[1].reason == Reject::wrong_type);
    check.broken = true;
    const DecodedEvents none = decode(schema, BodyShape::ndjson, text, &check);
    CHECK(none.columns.rows == 0);
    CHECK(none.rejected.size() == 7);
}

TEST_CASE("a request of too many events is refused whole") {
    const Schema schema = schema_of({column("x", ColumnType::text)});
    std::string text;
    for (std::size_t i = 0; i < JsonDecoder::events_max; ++i)
        text += "{}\n";
    const DecodedEvents most = decode(schema, BodyShape::ndjson, text);
    CHECK_FALSE(most.too_many);
    CHECK(most.columns.rows == JsonDecoder::events_max);
    text += "\n\nx";
    const DecodedEvents more = decode(schema, BodyShape::ndjson, text);
    CHECK(more.too_many);
    CHECK(more.columns.rows == 0);
    REQUIRE(more.rejected.size() == 1);
    CHECK(more.rejected[0].reason == Reject::too_large);
    CHECK(more.rejected[0].raw.size == text.size());
    std::string array = "[0";
    for (std::size_t i = 0; i < JsonDecoder::events_max; ++i)
        array += ",0";
    CHECK(decode(schema, BodyShape::json, array + "]").too_many);
}

TEST_CASE("a stored event reads as it was decoded at the door, whatever is asked of it") {
    Schema schema = access_schema();
    schema.columns.push_back(column("all", ColumnType::json, "$"));
    schema.columns.push_back(with_default(column("later", ColumnType::integer), "9"));
    const std::string events[] = {
        R"({"event_id":"a","timestamp":"2015-05-17T10:05:00Z","user_id":"u","properties":{"status":200,"path":"\u0041","bytes":1},"x":[1,2]})",
        R"({"properties":{"bytes":3,"status":7,"bytes":4},"event_id":1,"event_id":2,"timestamp":1431857100000})"};
    JsonDecoder decoder;
    for (const std::string& event : events) {
        const DecodedEvents door = decode(schema, BodyShape::ndjson, event);
        REQUIRE(door.columns.rows == 1);
        const Body body(event);
        ColumnBatch batch;
        batch.reset(schema);
        decoder.decode_stored(schema, body.view(), 5, {}, batch);
        REQUIRE(batch.rows == 1);
        CHECK(shown_row(schema, batch, 0) == shown_row(schema, door.columns, 0));
        CHECK(batch.event_time_ms[0] == door.columns.event_time_ms[0]);
        for (std::size_t wanted = 0; wanted < schema.columns.size(); ++wanted) {
            std::vector<bool> want(schema.columns.size());
            want[wanted] = true;
            decoder.decode_stored(schema, body.view(), 5, want, batch);
            const std::size_t row = batch.rows - 1;
            CHECK(batch.event_time_ms[row] == door.columns.event_time_ms[0]);
            for (std::size_t c = 0; c < schema.columns.size(); ++c)
                CHECK(shown(schema, batch, c, row) == (c == wanted ? shown(schema, door.columns, c, 0) : "null"));
        }
    }
}

TEST_CASE("what cannot be read of a stored event is null") {
    Schema schema = schema_of(
        {column("a", ColumnType::integer), column("t", ColumnType::timestamp), column("j", ColumnType::json)});
    schema.event_time = 1;
    JsonDecoder decoder;
    ColumnBatch batch;
    batch.reset(schema);
    const auto is = [&](std::string_view event, std::string_view want, std::int64_t time_ms) {
        INFO(event);
        const Body body(event);
        decoder.decode_stored(schema, body.view(), 5, {}, batch);
        CHECK(shown_row(schema, batch, batch.rows - 1) == want);
        CHECK(batch.event_time_ms[batch.rows - 1] == time_ms);
    };
    is(R"({"a":1,"t":1431857100000,"j":{}})", "1,1431857100000,{}", 1'431'857'100'000);
    is("", "null,null,null", 5);
    is("7", "null,null,null", 5);
    is("[{\"a\":1}]", "null,null,null", 5);
    is(R"({"a":"x","t":12})", "null,null,null", 5);
    is(R"({"a":1,"j":{"b":)", "1,null,null", 5);
    is(R"({"j":[1],"a":1,"t":tru)", "1,null,[1]", 5);
}

TEST_CASE("a schema at the address of another is another schema") {
    JsonDecoder decoder;
    alignas(Schema) unsigned char place[sizeof(Schema)];
    for (int round = 0; round < 4; ++round) {
        const bool even = round % 2 == 0;
        Schema* schema = new (place)
            Schema(schema_of({column("x", even ? ColumnType::text : ColumnType::integer, even ? "$.a" : "$.b")}));
        const Body body(R"({"a":"s","b":1})");
        ColumnBatch batch;
        batch.reset(*schema);
        decoder.decode_stored(*schema, body.view(), 0, {}, batch);
        CHECK(shown(*schema, batch, 0, 0) == (even ? "s" : "1"));
        DecodedEvents out;
        decoder.decode(*schema, BodyShape::ndjson, body.view(), now_ms, {}, nullptr, out);
        CHECK(shown(*schema, out.columns, 0, 0) == (even ? "s" : "1"));
        schema->~Schema();
    }
}

TEST_CASE("many columns in one object are all found") {
    std::vector<Column> columns;
    std::string event = "{";
    for (int i = 0; i < 200; ++i) {
        const std::string name = (i % 3 == 0 ? "c" : "a_longer_column_") + std::to_string(i);
        columns.push_back(column(name, ColumnType::integer));
        event += (i > 0 ? ",\"" : "\"") + name + "\":" + std::to_string(i);
    }
    const Schema schema = schema_of(std::move(columns));
    const DecodedEvents out = decode(schema, BodyShape::ndjson, event + "}");
    REQUIRE(out.columns.rows == 1);
    for (std::size_t c = 0; c < 200; ++c)
        CHECK(out.columns.columns[c].number[0] == static_cast<std::int64_t>(c));
}

// --- the oracle: simdjson's DOM parser, which is another reader of the same grammar
// -----------------------------------

bool has_lone_surrogate(std::string_view line) {
    const auto unit = [&](std::size_t i) -> int {
        if (i + 6 > line.size() || line[i] != '\\' || line[i + 1] != 'u') return -1;
        int value = 0;
        for (std::size_t k = i + 2; k < i + 6; ++k) {
            const std::size_t digit = std::string_view("0123456789abcdef0123456789ABCDEF").find(line[k]);
            if (digit == std::string_view::npos) return -1;
            value = value * 16 + static_cast<int>(digit % 16);
        }
        return value;
    };
    for (std::size_t i = 0; i < line.size(); ++i) {
        if (line[i] != '\\') continue;
        const int first = unit(i);
        if (first >= 0xDC00 && first <= 0xDFFF) return true;
        if (first >= 0xD800 && first <= 0xDBFF) {
            const int second = unit(i + 6);
            if (second < 0xDC00 || second > 0xDFFF) return true;
            i += 11;
            continue;
        }
        ++i;
    }
    return false;
}

// Numbers that no double or 64-bit integer holds are an error to the DOM and well-formed to us.
std::string reasonable_numbers(std::string_view line) {
    std::string out;
    int digits = 0, most = 12;
    for (const char c : line) {
        const bool digit = c >= '0' && c <= '9';
        digits = digit ? digits + 1 : 0;
        if (digits > most) continue;
        if (!digit && c != '+' && c != '-') most = c == 'e' || c == 'E' ? 2 : 12;
        out.push_back(c);
    }
    return out;
}

// Strict text of a DOM value, for comparing what was read; numbers by their meaning.
std::optional<std::string> dom_text(simdjson::dom::element root, std::string_view pointer_key) {
    simdjson::dom::object object;
    if (root.get(object)) return std::nullopt;
    for (const simdjson::dom::key_value_pair& member : object) {
        if (member.key != pointer_key) continue;
        std::string_view text;
        if (!member.value.get(text)) return std::string(text);
        return std::nullopt;
    }
    return std::nullopt;
}

TEST_CASE("a line is malformed exactly when simdjson's DOM parser refuses it") {
    const std::string seeds[] = {
        R"({"event_id":"50d98a41974f2572","timestamp":"2015-05-17T10:05:00Z","user_id":"83.149.9.216","properties":{"method":"GET","status":200,"bytes":-0,"referrer":null,"f":1.5e-3}})",
        R"({"a":[1,2,{"b":[]},[[]],"x"],"t":true,"f":false,"n":null,"s":"\u00e9\n\"\\\/","e":{},"big":12345678901,"d":0.25E+10})",
        "{ \"k\\u0041\" : [ \"\xE2\x82\xAC\xF0\x9F\x98\x80\" , \"\\ud83d\\ude00\" ] ,\t\"z\" : { \"y\" : \"a long text "
        "that fills more than one block of sixteen bytes\" } }",
    };
    const std::string_view pieces[] = {
        "\"",   "\\", "{", "}",    "[",    "]",    ",",    ":",       "0",    "1",    "-",    ".",
        "e",    "E",  "+", "t",    "true", "null", "\\u",  "\\ud800", "\xC3", "\xA9", "\xFF", "\xED\xA0\x80",
        "\x01", "\t", " ", "\\\"", "01",   "\"\"", "\x7f", "fals",    "\r"};
    const Schema schema = schema_of({column("s", ColumnType::text), column("user_id", ColumnType::text),
                                     column("deep", ColumnType::integer, "$.properties.status")});
    JsonDecoder decoder;
    DecodedEvents out;
    simdjson::dom::parser dom;
    Prng random(20150517);
    int refused = 0, taken = 0;
    for (int i = 0; i < 60'000; ++i) {
        std::string line = seeds[random.below(std::size(seeds))];
        for (std::uint64_t edits = 1 + random.below(3); edits > 0; --edits) {
            const std::size_t at = random.below(line.size() + 1);
            const std::size_t span = std::min<std::size_t>(random.below(4), line.size() - at);
            const std::string_view piece = pieces[random.below(std::size(pieces))];
            switch (random.below(5)) {
                case 0:
                    line.erase(at, span);
                    break;
                case 1:
                    line.insert(at, piece);
                    break;
                case 2:
                    line.replace(at, span, piece);
                    break;
                case 3:
                    line.resize(at);
                    break;
                default:
                    line.insert(at, line.substr(random.below(line.size() + 1), span));
                    break;
            }
            if (line.empty()) line = "{}";
        }
        line = reasonable_numbers(line);
        if (line.find_first_not_of(" \t\r\n") == std::string::npos) continue;
        if (has_lone_surrogate(line)) continue;  // we refuse, simdjson 3.0 may not
        simdjson::dom::element element;
        const bool dom_refuses = dom.parse(line.data(), line.size()).get(element) != simdjson::SUCCESS;
        const Body body(line, "\"}]0 \\"[random.below(6)]);
        decoder.decode(schema, BodyShape::ndjson, body.view(), now_ms, {}, nullptr, out);
        REQUIRE(out.lines == 1);
        const bool refuses = !out.rejected.empty() && out.rejected[0].reason == Reject::malformed_json;
        if (refuses != dom_refuses) FAIL("simdjson " << (dom_refuses ? "refuses" : "takes") << ": " << line);
        (refuses ? refused : taken) += 1;
        if (out.columns.rows == 1)
            for (std::size_t c = 0; c < 2; ++c)
                if (const std::optional<std::string> want = dom_text(element, schema.columns[c].name);
                    want && shown(schema, out.columns, c, 0) != *want)
                    FAIL(line << ": " << *want << " read as " << shown(schema, out.columns, c, 0));
    }
    CHECK(refused > 5'000);
    CHECK(taken > 5'000);
}

TEST_CASE("a body cut anywhere ends in malformed lines, not in memory behind it") {
    const Schema schema = access_schema();
    const std::string text =
        R"([{"event_id":"a\u00e9","timestamp":"2015-05-17T10:05:00Z","properties":{"status":-1.5e3,"x":[true,false,null]}}])";
    JsonDecoder decoder;
    DecodedEvents out;
    for (std::size_t size = 1; size < text.size(); ++size)
        for (const char behind : {'"', '}', ']', '0', 'e', '\\', '\0', 'u'}) {
            const Body body(std::string_view(text).substr(0, size), behind);
            for (const BodyShape shape : {BodyShape::json, BodyShape::ndjson}) {
                decoder.decode(schema, shape, body.view(), now_ms, {}, nullptr, out);
                REQUIRE(out.rejected.size() == 1);
                REQUIRE(out.rejected[0].reason == Reject::malformed_json);
            }
        }
}

TEST_CASE("reasons have stable names") {
    CHECK(reject_name(Reject::too_large) == "too_large");
    CHECK(reject_name(Reject::malformed_json) == "malformed_json");
    CHECK(reject_name(Reject::too_deep) == "too_deep");
    CHECK(reject_name(Reject::not_an_object) == "not_an_object");
    CHECK(reject_name(Reject::bad_cloudevent) == "bad_cloudevent");
    CHECK(reject_name(Reject::missing_dedup_key) == "missing_dedup_key");
    CHECK(reject_name(Reject::bad_event_time) == "bad_event_time");
    CHECK(reject_name(Reject::future_event_time) == "future_event_time");
    CHECK(reject_name(Reject::wrong_type) == "wrong_type");
    CHECK(reject_name(Reject::not_null) == "not_null");
    CHECK(reject_name(Reject::check_failed) == "check_failed");
}

}  // namespace
}  // namespace weir::record
