// What SQLite runs on the connections to one file that are opened while this lives: the statements, and how many rows
// they gave. Through SQLite's own hooks, so nothing that a connection does goes unseen.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <sqlite3.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::apply {

class StatementTrace {
  public:
    explicit StatementTrace(std::string file_name) : file_name_(std::move(file_name)) {
        REQUIRE(current() == nullptr);
        current() = this;
        REQUIRE(sqlite3_auto_extension(reinterpret_cast<void (*)()>(&on_open)) == SQLITE_OK);
    }
    ~StatementTrace() {
        sqlite3_reset_auto_extension();
        current() = nullptr;
    }
    StatementTrace(const StatementTrace&) = delete;
    StatementTrace& operator=(const StatementTrace&) = delete;

    std::vector<std::string> statements;
    std::uint64_t rows = 0;
    void clear() {
        statements.clear();
        rows = 0;
    }
    // How many of the statements begin so.
    std::size_t count(std::string_view begin) const {
        std::size_t found = 0;
        for (const auto& statement : statements)
            found += statement.starts_with(begin) ? 1 : 0;
        return found;
    }

  private:
    static StatementTrace*& current() {
        static StatementTrace* trace = nullptr;
        return trace;
    }
    static int on_open(sqlite3* db, const char**, const void*) {
        auto* trace = current();
        const char* path = sqlite3_db_filename(db, "main");
        if (trace == nullptr || path == nullptr || !std::string_view(path).ends_with(trace->file_name_))
            return SQLITE_OK;
        return sqlite3_trace_v2(db, SQLITE_TRACE_STMT | SQLITE_TRACE_ROW, &on_event, nullptr);
    }
    static int on_event(unsigned event, void*, void* statement, void* text) {
        auto* trace = current();
        if (trace == nullptr) return 0;
        // SQLite reads its schema by statements of its own, which have no text.
        if (event == SQLITE_TRACE_ROW && sqlite3_sql(static_cast<sqlite3_stmt*>(statement)) != nullptr) trace->rows++;
        if (event != SQLITE_TRACE_STMT) return 0;
        const auto* sql = static_cast<const char*>(text);
        // A trigger or a nested statement comes as a comment; its text is another's.
        if (std::string_view(sql).starts_with("--")) sql = sqlite3_sql(static_cast<sqlite3_stmt*>(statement));
        trace->statements.emplace_back(sql == nullptr ? "" : sql);
        return 0;
    }

    const std::string file_name_;
};

}  // namespace weir::apply
