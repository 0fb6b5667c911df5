// A view.db with internal tables, and a reader on it.
#pragma once

#include "store/database.h"
#include "store/reader.h"
#include "support/temp_dir.h"
#include "unit/store/batch_builder.h"

#include <catch2/catch_test_macros.hpp>

namespace weir::store {

class ListSink final : public RowSink {
  public:
    std::vector<ResultColumn> header;
    std::vector<std::string> rows;
    std::size_t rows_max = SIZE_MAX;
    bool columns(const std::vector<ResultColumn>& columns) override {
        header = columns;
        return true;
    }
    bool row(const std::vector<Value>& values) override {
        std::string text;
        for (const Value& value : values)
            text += (text.empty() ? "" : ",") + show(value);
        rows.push_back(text);
        return rows.size() < rows_max;
    }
};

struct ReaderFixture {
    test::TempDir dir;
    std::unique_ptr<Database> writer;
    std::unique_ptr<Reader> reader;
    std::int64_t now_us = 0;
    std::int64_t step_us = 0;  // added at every look at the clock

    ReaderFixture() {
        auto made = Database::open(dir.file("view.db"), {});
        REQUIRE(made);
        writer = std::move(made).value();
        REQUIRE(writer->exec(
            "CREATE TABLE v0_17(_k BLOB PRIMARY KEY, c0 TIMESTAMP, c1 INTEGER, c2 TEXT) WITHOUT ROWID;"
            "CREATE TABLE _applied(one, idx); INSERT INTO _applied VALUES (1, 42);"
            "INSERT INTO v0_17 VALUES (x'01', 0, 200, 'a'), (x'02', 60000, 404, 'b'), (x'03', 60000, 200, 'c')"));
        auto opened = Reader::open(dir.file("view.db"), [this] { return now_us += step_us; });
        REQUIRE(opened);
        reader = std::move(opened).value();
    }

    void add_view() {
        REQUIRE(
            reader->add_view("access_1h", "SELECT c0 AS window_start, c1 AS status, c2 AS path FROM main.\"v0_17\""));
    }

    // Rows joined by blanks, or the error's name.
    std::string run(const std::string& sql, const std::vector<Value>& parameters = {}) {
        ListSink sink;
        const auto result = reader->run(sql, parameters, {}, sink);
        if (!result) return std::string("error: ") + errc_name(result.error().code);
        std::string text;
        for (const std::string& row : sink.rows)
            text += (text.empty() ? "" : " ") + row;
        return text;
    }
    Error error(const std::string& sql) {
        ListSink sink;
        const auto result = reader->run(sql, {}, {}, sink);
        INFO(sql);
        REQUIRE_FALSE(result);
        return result.error();
    }
};

}  // namespace weir::store
