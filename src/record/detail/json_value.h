// Tokens of an event to values of a column's type. Semantics: json.h.
#pragma once

#include "record/columns.h"
#include "record/detail/json_scan.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::record::detail {

enum class Read : std::uint8_t { value, null, wrong_type, seconds };  // seconds: an integer too small for epoch ms

// A number below this in magnitude is more likely seconds than milliseconds (10^11 ms is March 1973).
constexpr std::int64_t epoch_ms_min = 100'000'000'000;

struct Cell {
    std::int64_t number = 0;
    Slice slice;
};

// The integer of a token -?(0|[1-9][0-9]*). False: not in int64.
bool read_integer(std::string_view digits, std::int64_t& out);
// The number of a JSON number token, rounded to the nearest double; what is too small is 0. False: infinite.
bool read_real(std::string_view number, double& out);
// Appends the bytes of standard base64 with padding. False (and nothing appended): not that.
bool decode_base64(std::string_view text, std::string& out);

// `token` as epoch milliseconds. `scratch` is overwritten where the string has escapes.
Read read_time(const Token& token, std::string& scratch, std::int64_t& out);

// `token` as a value of `type`: fixed-width types into cell.number, the others appended to `bytes` with cell.slice.
Read read_value(ColumnType type, const Token& token, std::string& bytes, std::string& scratch, Cell& cell);

}  // namespace weir::record::detail
