#include "node/sql_completion.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

namespace weir::node {
namespace {

using Words = std::vector<std::string>;

SqlCatalog catalog() {
    return {{"access", "access_dead_letters", "orders.eu", "orders", "sys.streams", "sys.views"},
            {{"access", {"status", "user_id", "stamp", "odd name"}}, {"orders", {"total"}}}};
}

void completes(std::string_view text, const Words& want) {
    INFO(text);
    const SqlCompletion found = complete_sql(text, catalog());
    CHECK(found.candidates == want);
}

TEST_CASE("tables where a table is expected") {
    completes("SELECT * FROM acc", {"access", "access_dead_letters"});
    completes("select * from ORD", {"\"orders.eu\"", "orders"});
    completes("SELECT * FROM access JOIN o", {"\"orders.eu\"", "orders"});
    completes("SELECT count(*) FROM TUMBLE(acc", {"access", "access_dead_letters"});
    completes("DROP STREAM ord", {"\"orders.eu\"", "orders"});
    completes("ALTER STREAM ord", {"\"orders.eu\"", "orders"});
    completes("SELECT * FROM sys.s", {"sys.streams"});
    completes("SELECT * FROM sy", {"sys.streams", "sys.views"});
    CHECK(complete_sql("SELECT * FROM ", catalog()).candidates.size() == 6);
}

TEST_CASE("columns of the tables that are named, behind them or before") {
    completes("SELECT a FROM access WHERE sta", {"stamp", "status"});
    completes("SELECT a FROM access WHERE a.us", {"user_id", "using"});
    completes("SELECT a FROM access WHERE od", {"\"odd name\""});
    completes("SELECT a FROM access, orders WHERE to", {"total"});
    completes("SELECT a FROM orders WHERE sta", {});
    completes("SELECT a FROM access; SELECT a FROM orders WHERE sta", {});
    completes("SELECT _o FROM access WHERE _of", {"_offset"});
}

TEST_CASE("keywords in the case that was typed, functions") {
    completes("SEL", {"SELECT"});
    completes("sel", {"select"});
    completes("ALT", {"ALTER"});
    completes("DROP STREAM access CASC", {"CASCADE"});
    completes("SELECT a FROM access ORD", {"ORDER"});
    completes("SELECT epo", {"epoch_ms("});
    completes("SELECT buc", {"bucket("});
    completes("", {});
    completes("SELECT ", {});
}

TEST_CASE("nothing inside of strings, quoted names and comments") {
    completes("SELECT 'acc", {});
    completes("SELECT * FROM \"acc", {});
    completes("SELECT * FROM -- acc", {});
    completes("SELECT * FROM /* acc", {});
    completes("SELECT 'it''s' FROM acc", {"access", "access_dead_letters"});
    completes("SELECT * FROM -- x\nacc", {"access", "access_dead_letters"});
}

TEST_CASE("where the word begins") {
    CHECK(complete_sql("SELECT sta", catalog()).from == 7);
    CHECK(complete_sql("SELECT * FROM sys.s", catalog()).from == 14);
    CHECK(complete_sql("SELECT a.sta", catalog()).from == 9);
    CHECK(complete_sql("", catalog()).from == 0);
}

TEST_CASE("bytes that are no SQL are no trouble") {
    for (const std::string text : {"\xff\xfe", "SELECT \x01", "'", "\"", "/*", "((((((((", "SELECT * FROM \xc3"}) {
        const SqlCompletion found = complete_sql(text, catalog());
        CHECK(found.from <= text.size());
        ends_statement(text);
    }
}

TEST_CASE("a statement ends with a semicolon outside of strings and comments") {
    for (const char* text : {"SELECT 1;", "SELECT 1; -- done", "SELECT ';';", "SELECT 1;\n\n", ";"})
        CHECK(ends_statement(text));
    for (const char* text : {"", "SELECT 1", "SELECT ';", "SELECT 1 -- ;", "/* ; ", "SELECT 1; SELECT 2", "SELECT \";"})
        CHECK_FALSE(ends_statement(text));
}

TEST_CASE("the beginning that words have in common") {
    CHECK(common_beginning({}).empty());
    CHECK(common_beginning({"access"}) == "access");
    CHECK(common_beginning({"access", "access_dead_letters", "acc"}) == "acc");
    CHECK(common_beginning({"a", "b"}).empty());
}

TEST_CASE("tables named are few") {
    SqlCatalog many;
    std::string text = "SELECT 1 FROM t0";
    for (int i = 0; i < 100; ++i) {
        many.tables.push_back("t" + std::to_string(i));
        text += ", t" + std::to_string(i);
    }
    CHECK(tables_named(text, many).size() == 8);
    CHECK(tables_named("SELECT * FROM \"T1\"", many) == Words{"t1"});
}

}  // namespace
}  // namespace weir::node
