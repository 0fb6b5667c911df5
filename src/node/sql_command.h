// `weir sql`: statements to the server, one after the other, and their results in the wanted shape.
#pragma once

#include "node/client.h"
#include "node/console.h"
#include "node/rows.h"

#include <cstdint>
#include <string>

namespace weir::node {

struct SqlOptions {
    std::string statement{};  // the text itself; "-" reads stdin
    std::string file{};       // -f; "" none
    OutputFormat format = OutputFormat::table;
    std::string min_index{};      // "shard:index", "" none
    std::int64_t timeout_ms = 0;  // 0: the server's default
    std::int64_t rows_max = 0;    // 0: the server's default
};

// Stops at the first statement that fails; its code is the result. `-o json` prints one document: the answer, or an
// array of answers where the script has several statements; an error is {"error": {...}} in the place of an answer.
Exit run_sql(const Console& console, Client& client, const SqlOptions& options);

// One answer as `format` wants it, and for people how many rows in what time. False: the reader of our output has gone.
// json: the server's own bytes are for the caller to print.
bool show_rows(const Console& console, const RowSet& rows, OutputFormat format);
// Why a statement failed, and where: `line` is that of its first byte in what the user wrote.
void report_problem(const Console& console, const Problem& problem, const std::string& statement, std::int64_t line);
// How long the socket may be silent: longer than the statement's deadline.
std::int64_t silence_max_ms(const SqlOptions& options);

// A whole file, or stdin for "-". Errors: not_found, io, too_large (over 16 MiB).
Result<std::string> read_script(const std::string& path);

// The JSON body of POST /v1/sql.
std::string sql_request(const std::string& statement, const SqlOptions& options);

}  // namespace weir::node
