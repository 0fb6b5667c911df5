// What POST /v1/sql was asked: the statement and how to run it.
#pragma once

#include "base/limits.h"
#include "base/result.h"
#include "http/detail/call.h"
#include "http/detail/read_wait.h"
#include "http/detail/result_writer.h"
#include "query/pool.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http {

struct SqlRequest {
    std::string statement;
    std::vector<query::OwnedValue> parameters;
    std::vector<ShardIndex> min_index;  // empty: not asked for
    std::int64_t timeout_ms = limits::sql_timeout_ms_default;
    std::int64_t rows_max = limits::sql_rows_default;
    ResultFormat format = ResultFormat::rows;
};

// From the body (the statement, or JSON) and the URL (format, and the rest for plain statements). Errors:
// invalid_argument (unknown members and parameters too), too_large (the statement), unsupported (the content type).
Result<SqlRequest> read_sql_request(std::string_view content_type, std::string_view body, const Parameters& url);

}  // namespace weir::http
