// Rejections in words for people: where, what was expected, what stood there. At most
// limits::dead_letter_message_bytes_max bytes of UTF-8. All of it is off the fast path.
#pragma once

#include "record/detail/json_scan.h"
#include "record/detail/json_value.h"
#include "record/schema.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::record::detail {

// "byte 17: expected ':' behind a member name, got 'x'". `text` is what was walked, `at` a place in it or its end.
std::string fault_message(Fault fault, std::string_view text, const char* at);
std::string too_large_message(std::size_t bytes);
std::string not_an_object_message(const Token& token);
// "$.source: a CloudEvent needs it as a string that is not empty, got 7"
std::string missing_attribute_message(std::string_view name, const Token& token);
std::string other_version_message(const Token& version);
// "$.event_id: the DEDUP KEY is absent"
std::string missing_key_message(const Column& column, const Token& token);
std::string event_time_message(const Column& column, const Token& token, Read read);
std::string future_message(const Column& column, std::int64_t time_ms, std::int64_t now_ms, std::int64_t max_future_ms);
// "$.properties.status: expected INTEGER, got \"abc\""
std::string wrong_type_message(const Column& column, const Token& token, Read read);
std::string not_null_message(const Column& column, const Token& token);
// `value` is the column's value as text.
std::string check_message(const Column& column, std::string_view value);

// At most `bytes` bytes of `text`, cut between characters.
std::string_view cut_utf8(std::string_view text, std::size_t bytes);

}  // namespace weir::record::detail
