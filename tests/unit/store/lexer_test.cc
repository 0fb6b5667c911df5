#include "store/detail/lexer.h"

#include "base/prng.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::store::detail {
namespace {

std::string tokens(std::string_view sql) {
    Lexer lexer(sql);
    std::string out;
    for (Token t = lexer.next(); t.kind != TokenKind::end; t = lexer.next()) {
        if (!out.empty()) out += " ";
        if (t.kind == TokenKind::broken) out += "BROKEN:";
        out += t.text;
    }
    return out;
}

TEST_CASE("SQL is cut into tokens") {
    CHECK(tokens("") == "");
    CHECK(tokens("a>=-1") == "a >= - 1");
    CHECK(tokens("a->>'$.x'||b") == "a ->> '$.x' || b");
    CHECK(tokens("x BETWEEN 1e-3 AND .5") == "x BETWEEN 1e-3 AND .5");
    CHECK(tokens("a -- rest (\n+ b /* ) */ * 2") == "a + b * 2");
    CHECK(tokens("'it''s' \"a\"\"b\" [c d] `e`") == "'it''s' \"a\"\"b\" [c d] `e`");
    CHECK(tokens("'open") == "BROKEN:'open");
    CHECK(tokens("a /* open") == "a BROKEN:/* open");
    CHECK(tokens("1e") == "1e");
}

TEST_CASE("names lose their quotes") {
    const auto first = [](std::string_view sql) { return unquote(Lexer(sql).next()); };
    CHECK(first("\"a\"\"b\"") == "a\"b");
    CHECK(first("[c d]") == "c d");
    CHECK(first("plain") == "plain");
    CHECK(same_name("Status", "sTATUS"));
    CHECK_FALSE(same_name("a", "ab"));
}

TEST_CASE("any bytes come to an end") {
    Prng prng(5);
    for (int i = 0; i < 2000; ++i) {
        std::string sql;
        for (std::uint64_t n = prng.below(40); n > 0; --n)
            sql.push_back("'\"`[]-/*e+.1a $\xff\0"[prng.below(17)]);
        Lexer lexer(sql);
        std::size_t steps = 0;
        while (lexer.next().kind != TokenKind::end)
            REQUIRE(++steps <= sql.size());
    }
}

}  // namespace
}  // namespace weir::store::detail
