#include "query/server_tables.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace weir;
using namespace weir::query;

namespace {

OwnedValue text(std::string value) {
    return {store::ValueType::text, 0, 0, std::move(value)};
}

}  // namespace

TEST_CASE("server tables: the ones that a statement names travel, whatever way it names them") {
    int asked = 0;
    const std::vector<ServerTable> tables{
        {"sys.config",
         {{"key", "TEXT"}, {"value", "TEXT"}},
         [&asked] {
             ++asked;
             return std::vector<std::vector<OwnedValue>>{{text("http.listen"), text("127.0.0.1:8080")}};
         }},
        {"sys.other", {{"n", "INTEGER"}}, [] { return std::vector<std::vector<OwnedValue>>{}; }}};
    const auto names = [&](std::string_view sql) {
        std::string out;
        for (const TableRows& table : mentioned_tables(tables, sql))
            out += table.name + ' ';
        return out;
    };
    for (const char* sql :
         {"SELECT * FROM sys.config", "select * from SYS . Config where 1", "SELECT * FROM \"sys.config\"",
          "SELECT * FROM \"sys\".[config]", "SELECT 1 FROM t WHERE x IN (SELECT key FROM sys.config c)",
          "SELECT * FROM sys /* there */ . -- and\n config"}) {
        INFO(sql);
        CHECK(names(sql) == "sys.config ");
    }
    CHECK(names("SELECT * FROM sys.config, sys.other") == "sys.config sys.other ");
    CHECK(asked == 7);
    for (const char* sql : {"SELECT 'sys.config'", "SELECT * FROM config", "SELECT * FROM sys.configs",
                            "SELECT sys.x.config FROM t", "SELECT \"sys.config", ""}) {
        INFO(sql);
        CHECK(names(sql).empty());
    }
    CHECK(asked == 7);
    const auto rows = mentioned_tables(tables, "SELECT * FROM sys.config");
    CHECK(rows[0].rows[0][1].text == "127.0.0.1:8080");
    CHECK(size_of(rows) > 25);
    CHECK(size_of({}) == 0);
}
