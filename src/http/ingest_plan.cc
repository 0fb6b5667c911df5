#include "http/detail/ingest_plan.h"

#include "base/limits.h"

#include <algorithm>
#include <array>
#include <utility>

namespace weir::http {
namespace {

constexpr std::size_t content_type_bytes_max = 200;  // of what is kept with dead letters

struct KnownType {
    std::string_view name;
    std::optional<record::BodyShape> shape;  // nullopt: only where the body looks like JSON
};

constexpr std::array<KnownType, 11> known_types{{
    {"application/json", record::BodyShape::json},
    {"application/x-ndjson", record::BodyShape::ndjson},
    {"application/ndjson", record::BodyShape::ndjson},
    {"application/jsonl", record::BodyShape::ndjson},
    {"application/stream+json", record::BodyShape::ndjson},
    // Senders put batches under the one name and single events under the other (Debezium Server does).
    {"application/cloudevents+json", record::BodyShape::cloudevents},
    {"application/cloudevents-batch+json", record::BodyShape::cloudevents},
    {"application/cloudevents", record::BodyShape::cloudevents},  // JSON is the format that everybody must read
    {"application/cloudevents-batch", record::BodyShape::cloudevents},
    {"", std::nullopt},
    {"application/x-www-form-urlencoded", std::nullopt},  // what curl -d says when it is not told
}};

constexpr std::string_view accept_lines =
    "Accept: application/json, application/x-ndjson, application/cloudevents+json, "
    "application/cloudevents-batch+json\r\n";

Problem unsupported_media(std::string detail) {
    Problem p;
    p.status = 415;
    p.code = "unsupported_media_type";
    p.detail = std::move(detail);
    return p;
}

constexpr std::size_t key_bytes_max = 256;

// The key itself: a quoted string of structured fields (RFC 8941, 3.3.3), or the bare text that most clients send.
// Errors: invalid_argument.
Result<std::string> key_of(const RequestHead& head) {
    const auto bad = [](const char* why) {
        return Error{Errc::invalid_argument, std::string("Idempotency-Key ") + why};
    };
    if (head.idempotency_key_twice) return bad("is there twice");
    std::string_view text = trimmed(head.idempotency_key);
    std::string key;
    if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
        text = text.substr(1, text.size() - 2);
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text[i] == '"') return bad("holds a quote that is not escaped");
            if (text[i] == '\\' && (++i == text.size() || (text[i] != '"' && text[i] != '\\')))
                return bad("holds a backslash that escapes nothing");
            key += text[i];
        }
    } else {
        key = text;
    }
    if (key.empty()) return bad("is empty");
    if (key.size() > key_bytes_max) return bad("is longer than 256 bytes");
    if (std::any_of(key.begin(), key.end(), [](char c) { return c < 0x20 || c > 0x7e; }))
        return bad("holds what is not printable ASCII");
    return key;
}

Problem unsupported_coding(std::string_view coding) {
    Problem p =
        unsupported_media("Content-Encoding " + std::string(coding.substr(0, 100)) +
                          " is not taken; it may be one of " + std::string(codings_taken) + ", once, or identity");
    p.headers = "Accept-Encoding: " + std::string(codings_taken) + "\r\n";
    return p;
}

}  // namespace

Answer webhook_consent(std::string_view allow) {
    Answer a;
    a.content_type = {};
    a.headers = "WebHook-Allowed-Origin: *\r\nWebHook-Allowed-Rate: *\r\nAllow: " + std::string(allow) + "\r\n";
    return a;
}

Problem unsupported_type(std::string_view type) {
    Problem p = unsupported_media(
        "Content-Type " + (type.empty() ? "is missing" : "is " + std::string(type.substr(0, 100))) +
        "; this route takes application/json (an object or an array of objects), application/x-ndjson, "
        "application/ndjson, application/jsonl or application/stream+json (an object a line), "
        "application/cloudevents+json and application/cloudevents-batch+json, and any type with the fields of a "
        "CloudEvent (ce-specversion, ce-id, ce-source, ce-type); a body without a type must begin with { or [");
    p.headers = accept_lines;
    return p;
}

std::optional<Problem> plan_ingest(const RequestHead& head, std::string stream, IngestPlan& plan) {
    plan.stream = std::move(stream);
    plan.content_type = head.content_type.substr(0, content_type_bytes_max);
    if (head.idempotency_key.data() != nullptr) {
        auto key = key_of(head);
        if (!key) return problem_of(key.error());
        plan.key = std::move(key).value();
    }
    const auto coding = head.content_encoding_twice ? std::nullopt : coding_of(head.content_encoding);
    if (!coding) return unsupported_coding(head.content_encoding);
    plan.coding = *coding;
    if (head.content_type_twice) return unsupported_media("Content-Type is there twice");

    const MediaType type = media_type_of(head.content_type);
    const bool structured = starts_with_text(type.name, "application/cloudevents");
    if (!structured && means_cloud_event(head.cloud_fields)) {
        auto front = cloud_event_front(head.cloud_fields);
        Problem p;
        p.code = record::reject_name(record::Reject::bad_cloudevent);
        if (!front) p.detail = front.error().detail;
        if (!record::is_utf8(head.content_type)) p.detail = "Content-Type is not UTF-8";
        if (head.content_type.size() > content_type_bytes_max) p.detail = "Content-Type is longer than 200 bytes";
        if (!p.detail.empty()) return p;
        plan.cloud_front = std::move(front).value();
        const auto kind = cloud_data_of(head.content_type).kind;
        if (kind == CloudData::json && !is_utf8_charset(type.charset))
            return unsupported_media("JSON is UTF-8; this body says " + type.charset.substr(0, 50));
        return std::nullopt;
    }
    const auto known = std::find_if(known_types.begin(), known_types.end(),
                                    [&](const KnownType& k) { return same_text(k.name, type.name); });
    if (known == known_types.end()) return unsupported_type(head.content_type);
    plan.shape = known->shape;
    if (!is_utf8_charset(type.charset))
        return unsupported_media("JSON is UTF-8; this body says " + type.charset.substr(0, 50));
    return std::nullopt;
}

bool looks_like_json(std::string_view body) {
    if (body.starts_with("\xEF\xBB\xBF")) body.remove_prefix(3);
    const std::size_t at = body.find_first_not_of(" \t\r\n");
    return at != std::string_view::npos && (body[at] == '{' || body[at] == '[');
}

std::string_view json_hint(std::string_view body) {
    // "}" and then, behind nothing but spaces, "{": several objects. Where a line end is between, it is NDJSON;
    // where not, curl -d has eaten it. Only the front is searched: a hint is not worth more.
    body = body.substr(0, 64 * limits::kib);
    for (std::size_t close = body.find('}'); close != std::string_view::npos; close = body.find('}', close + 1)) {
        const std::size_t next = body.find_first_not_of(" \t\r\n", close + 1);
        if (next == std::string_view::npos) return {};
        if (body[next] != '{') continue;
        return body.substr(close, next - close).find('\n') != std::string_view::npos
                   ? "; this looks like one object a line: send it with Content-Type: application/x-ndjson"
                   : "; this looks like several objects without line ends (curl -d removes them): use "
                     "--data-binary and Content-Type: application/x-ndjson";
    }
    return {};
}

}  // namespace weir::http
