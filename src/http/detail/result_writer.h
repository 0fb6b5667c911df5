// Query results as text, in the formats of `?format=`. Rows are appended as they come; nothing is kept.
// Owner: one thread.
#pragma once

#include "base/ids.h"
#include "query/pool.h"
#include "store/value.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http {

enum class ResultFormat : std::uint8_t {
    rows,          // the default: {"columns":[...],"rows":[[...]],...}
    ndjson,        // ndjson, JSONEachRow: an object a row
    csv,           // csv, CSVWithNames: RFC 4180 with a line of names, lines end in LF; NULL is nothing, '' is ""
    json_objects,  // JSON: {"meta":[...],"data":[{...}],"rows":n,...}
};
std::optional<ResultFormat> result_format(std::string_view name);  // "" is `rows`; nullopt: no such format
std::string_view content_type_of(ResultFormat format);

struct ResultEnd {
    bool truncated = false;
    std::string applied_index;  // "0:17"
    double elapsed_ms = 0;
};

// One value as JSON, shown by its column's type: TIMESTAMP as RFC 3339, BOOLEAN as true or false, BLOB as base64,
// JSON as itself where it is valid, else as text.
void append_json_value(std::string& out, std::string_view type, const store::Value& value);

// [{"name":...,"type":...},...]
void append_columns(std::string& out, const std::vector<query::QueryColumn>& columns);

class ResultWriter {
  public:
    explicit ResultWriter(ResultFormat format) : format_(format) {}
    void columns(const std::vector<query::QueryColumn>& columns, std::string& out);
    void row(const std::vector<store::Value>& values, std::string& out);
    void end(const ResultEnd& end, std::string& out);

  private:
    void object(const std::vector<store::Value>& values, std::string& out);

    ResultFormat format_;
    std::vector<std::string> types_;
    std::vector<std::string> keys_;  // `"name":`
    std::int64_t rows_ = 0;
    bool began_ = false;
};

}  // namespace weir::http
