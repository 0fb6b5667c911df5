#include "sql/tokens.h"

#include "base/limits.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace weir;
using namespace weir::sql;

namespace {

// Kind letters and texts: "w:SELECT n:1".
std::string shown(std::string_view text) {
    auto tokens = tokenize(text);
    if (!tokens) return "error at " + std::to_string(tokens.error().position);
    std::string out;
    for (const Token& token : tokens.value()) {
        if (token.kind == TokenKind::end) break;
        constexpr std::string_view letters = ".wqsbndzpo!";
        if (!out.empty()) out += ' ';
        out += std::string(1, letters[static_cast<std::size_t>(token.kind)]) + ":" + std::string(token.text);
    }
    return out;
}

void tokens(std::string_view text, std::string_view want) {
    INFO(text);
    CHECK(shown(text) == want);
}

}  // namespace

TEST_CASE("tokens: every kind") {
    tokens("", "");
    tokens("  \t\r\n", "");
    tokens("SELECT a1 FROM _x", "w:SELECT w:a1 w:FROM w:_x");
    tokens("\"a\"\"b\" [c d] `e``f`", "q:\"a\"\"b\" q:[c d] q:`e``f`");
    tokens("'it''s'''", "s:'it''s'''");
    tokens("x'00fF' X''", "b:x'00fF' b:X''");
    tokens("1 1.5 .5 1. 1e3 1E-3 0x1F", "n:1 n:1.5 n:.5 n:1. n:1e3 n:1E-3 n:0x1F");
    tokens("7d 250ms 1w 30m", "d:7d d:250ms d:1w d:30m");
    tokens("50GB 64KiB 1tib 10B", "z:50GB z:64KiB z:1tib z:10B");
    tokens("? ?1 :a @b $c", "p:? p:?1 p::a p:@b p:$c");
    tokens("a->>'b'->c||d<=e<>f!=g==h<<i",
           "w:a o:->> s:'b' o:-> w:c o:|| w:d o:<= w:e o:<> w:f o:!= w:g o:== w:h o:<< w:i");
    tokens("a-- b\nc/* d */e/*f", "w:a w:c w:e");
    tokens("a - -b", "w:a o:- o:- w:b");
    tokens("caf\xc3\xa9", "w:caf\xc3\xa9");
    tokens("a.b,(*);", "w:a o:. w:b o:, o:( o:* o:) o:;");
}

TEST_CASE("tokens: what is none") {
    tokens("a 'b", "error at 2");
    tokens("a \"b", "error at 2");
    tokens("a [b", "error at 2");
    tokens("x'0'", "error at 0");
    tokens("x'0g'", "error at 0");
    tokens("12abc", "error at 0");
    tokens("1.5h", "error at 0");
    tokens("a ! b", "error at 2");
    tokens("a # b", "error at 2");
    tokens(":", "error at 0");
    tokens(std::string_view("a\0b", 3), "error at 1");
    tokens(std::string_view("'a\0b'", 5), "error at 2");
    CHECK(tokenize(std::string(limits::sql_bytes_max, ' ')).has_value());
    CHECK(tokenize(std::string(limits::sql_bytes_max + 1, ' ')).error().code == Errc::too_large);
}

TEST_CASE("tokens: values and quotes") {
    const auto value = [](std::string_view text) { return token_value(next_token(text, 0)); };
    CHECK(value("\"a\"\"b\"") == "a\"b");
    CHECK(value("`a``b`") == "a`b");
    CHECK(value("[a b]") == "a b");
    CHECK(value("'it''s'") == "it's");
    CHECK(value("abc") == "abc");
    CHECK(value("''") == "");
    CHECK(quoted_if_needed("status") == "status");
    CHECK(quoted_if_needed("a-b") == "\"a-b\"");
    CHECK(quoted_if_needed("sys.streams") == "\"sys.streams\"");
    CHECK(quoted_if_needed("Order") == "\"Order\"");
    CHECK(quoted_if_needed("a\"b") == "\"a\"\"b\"");
    CHECK(quoted_if_needed("1a") == "\"1a\"");
    CHECK(quoted_if_needed("") == "\"\"");
    CHECK(quote_string("it's") == "'it''s'");
}

TEST_CASE("sizes") {
    const auto size = [](std::string_view text) { return parse_size_bytes(text).value_or(-1); };
    CHECK(size("0B") == 0);
    CHECK(size("50GB") == 50'000'000'000);
    CHECK(size("64kib") == 65'536);
    CHECK(size("4194303TiB") == 4194303LL << 40);
    CHECK(size("4194304TiB") == 1LL << 62);
    CHECK(size("4194305TiB") == -1);
    CHECK(size("99999999999999999999B") == -1);
    CHECK(size("GB") == -1);
    CHECK(size("5") == -1);
    CHECK(size("5G") == -1);
    for (const std::int64_t bytes : {0LL, 1LL, 1000LL, 1024LL, 1500LL, 50'000'000'000LL, 1LL << 40}) {
        CHECK(size(format_size(bytes)) == bytes);
    }
    CHECK(format_size(50'000'000'000) == "50GB");
    CHECK(format_size(65'536) == "64KiB");
}
