// CloudEvents 1.0.2 in HTTP's binary mode (HTTP Protocol Binding, 3.1): attributes in ce- fields, the data as the body.
// Here such an event becomes what it would be in the structured mode, one JSON object (JSON Event Format, 3):
//
//   {"specversion":"1.0","id":"...", ... as the fields came ..., "datacontenttype":"...","data":...}
//
//   data         JSON types: the body's bytes as sent; text in UTF-8: a string
//   data_base64  everything else
//   neither      the body is empty
//
// so that a stream's columns see the same paths whatever the mode. Pure functions; any thread.
#pragma once

#include "base/result.h"
#include "record/json.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::http {

// A field whose name begins with ce-: the rest of the name, and the value as it stands in the head.
using CloudField = std::pair<std::string_view, std::string_view>;

// Whether these fields are meant as an event: one of the required attributes is among them.
bool means_cloud_event(std::span<const CloudField> fields);

// One attribute's value: quoted strings unquoted, one round of percent-decoding. A '%' without two hex digits stays.
// Errors: invalid_argument (a quote that is not closed, not UTF-8, a control character).
Result<std::string> decode_attribute(std::string_view value);

enum class CloudData : std::uint8_t { json, text, binary };
// `content_type` as sent. nullopt: the first byte of the body decides between JSON and the other that is said with it.
struct CloudDataKind {
    std::optional<CloudData> kind;
    CloudData otherwise = CloudData::binary;
};
CloudDataKind cloud_data_of(std::string_view content_type);

// The attributes as the front of the JSON object, without its closing brace: `{"specversion":"1.0","id":"1"`.
// Errors: invalid_argument (a required attribute is missing or empty, another specversion, one twice, a name that no
// attribute can have, ce-datacontenttype, a value; says which field).
Result<std::string> cloud_event_front(std::span<const CloudField> fields);

// The whole event; its string has 64 initialised bytes behind its end. `reason` other than none: the body cannot be
// that event's data, and `message` says why.
struct CloudEvent {
    std::string event;
    record::Reject reason = record::Reject::none;
    std::string message;
};
// `content_type` empty: none is written. `body` has 64 readable bytes behind it.
CloudEvent make_cloud_event(std::string_view front, std::string_view content_type, CloudData kind,
                            std::string_view body);

}  // namespace weir::http
