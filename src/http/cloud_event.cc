#include "http/detail/cloud_event.h"

#include "base/limits.h"
#include "http/detail/json_text.h"
#include "http/detail/media_type.h"

#include <algorithm>
#include <array>

namespace weir::http {
namespace {

constexpr std::array<std::string_view, 4> required{"specversion", "id", "source", "type"};
constexpr std::size_t padding_bytes = 64;

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

Error bad(std::string detail) {
    return Error{Errc::invalid_argument, std::move(detail)};
}

// RFC 9110, 5.6.4. False: a quote is not closed.
bool unquote(std::string_view value, std::string& out) {
    bool quoted = false;
    for (std::size_t i = 0; i < value.size(); ++i) {
        char c = value[i];
        if (c == '"') {
            quoted = !quoted;
            continue;
        }
        if (quoted && c == '\\') {
            if (++i == value.size()) return false;
            c = value[i];
        }
        out += c;
    }
    return !quoted;
}

std::string percent_decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const int hi = text[i] == '%' && i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
        const int lo = hi >= 0 ? hex_value(text[i + 2]) : -1;
        out += lo >= 0 ? static_cast<char>(hi << 4 | lo) : text[i];
        i += lo >= 0 ? 2 : 0;
    }
    return out;
}

// C0, DEL and C1 (the latter as UTF-8): no attribute's value may hold one (CloudEvents, 2).
bool has_control(std::string_view text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c < 0x20 || c == 0x7f) return true;
        if (c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) return true;
    }
    return false;
}

// The front of the event, for people; not cut within a character.
std::string shown_front(std::string_view front) {
    std::size_t n = std::min<std::size_t>(front.size(), 200);
    while (n < front.size() && n > 0 && (static_cast<unsigned char>(front[n]) & 0xc0) == 0x80)
        --n;
    return std::string(front.substr(0, n)) + (n < front.size() ? "..." : "");
}

std::string shown(std::string_view name) {
    return "ce-" + std::string(name.substr(0, 100));
}

// An attribute's name in its one spelling. Errors: invalid_argument.
Result<std::string> attribute_name(std::string_view name) {
    std::string out(name);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    const bool good = !out.empty() && std::all_of(out.begin(), out.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    });
    if (!good) return bad(shown(name) + " names no CloudEvents attribute: those are of letters and digits");
    if (out == "datacontenttype") return bad("ce-datacontenttype is not taken: Content-Type says it");
    if (out == "data") return bad("ce-data is not taken: the body is the data");
    return out;
}

}  // namespace

bool means_cloud_event(std::span<const CloudField> fields) {
    return std::any_of(fields.begin(), fields.end(), [](const CloudField& field) {
        return std::any_of(required.begin(), required.end(),
                           [&](std::string_view name) { return same_text(name, field.first); });
    });
}

Result<std::string> decode_attribute(std::string_view value) {
    std::string unquoted;
    if (!unquote(value, unquoted)) return bad("has a quote that is not closed");
    std::string out = percent_decoded(unquoted);
    if (!record::is_utf8(out)) return bad("is not UTF-8");
    if (has_control(out)) return bad("holds a control character");
    return out;
}

CloudDataKind cloud_data_of(std::string_view content_type) {
    const MediaType type = media_type_of(content_type);
    if (type.name.empty()) return {std::nullopt, CloudData::binary};
    if (same_text(type.name, "application/x-www-form-urlencoded")) return {std::nullopt, CloudData::text};
    const bool lines = same_text(type.name, "application/stream+json");
    if (is_json_type(type.name) && !lines) return {CloudData::json, CloudData::binary};
    const bool text = is_text_type(type.name) || lines;
    return {text && is_utf8_charset(type.charset) ? CloudData::text : CloudData::binary, CloudData::binary};
}

Result<std::string> cloud_event_front(std::span<const CloudField> fields) {
    std::string out = "{";
    std::vector<std::string> names;
    for (const auto& [field_name, field_value] : fields) {
        std::string name = TRY(attribute_name(field_name));
        if (std::find(names.begin(), names.end(), name) != names.end()) return bad(shown(name) + " is there twice");
        auto value = decode_attribute(field_value);
        if (!value) return bad(shown(name) + " " + value.error().detail);
        const bool is_required = std::find(required.begin(), required.end(), name) != required.end();
        if (is_required && value.value().empty()) return bad(shown(name) + " is empty");
        if (name == "specversion" && value.value() != "1.0")
            return bad("ce-specversion is " + value.value().substr(0, 20) + "; this server reads CloudEvents 1.0");
        append_member(out, name, value.value());
        names.push_back(std::move(name));
    }
    for (const std::string_view name : required)
        if (std::find(names.begin(), names.end(), name) == names.end())
            return bad(shown(name) + " is missing: a CloudEvent has ce-specversion, ce-id, ce-source and ce-type");
    return out;
}

CloudEvent make_cloud_event(std::string_view front, std::string_view content_type, CloudData kind,
                            std::string_view body) {
    CloudEvent made;
    const auto refuse = [&](record::Reject reason, const std::string& message) {
        made.reason = reason;
        made.message = "data of the CloudEvent " + shown_front(front) + ": " + message;
        return made;
    };
    const auto too_large = [&](std::size_t bytes) {
        return refuse(record::Reject::too_large, "makes an event of " + std::to_string(bytes) + " bytes, at most " +
                                                     std::to_string(limits::event_bytes_max) + " are taken");
    };
    if (body.size() > limits::event_bytes_max) return too_large(body.size());
    std::string& out = made.event;
    out.reserve(front.size() + content_type.size() + body.size() + 256);
    out = front;
    if (!content_type.empty()) append_member(out, "datacontenttype", content_type);
    if (kind == CloudData::json) {
        if (body.starts_with("\xEF\xBB\xBF")) body.remove_prefix(3);
        const std::size_t begin = std::min(body.find_first_not_of(" \t\r\n"), body.size());
        body = body.substr(begin, body.find_last_not_of(" \t\r\n") + 1 - begin);
        // By itself: glued between the braces, `1,"id":"other"` would be good JSON, and another event.
        if (!body.empty()) {
            if (auto fault = record::json_fault(body)) return refuse(fault->reason, fault->message);
            append_name(out, "data");
            out += body;
        }
    } else if (!body.empty()) {
        if (kind == CloudData::text && record::is_utf8(body)) {
            append_member(out, "data", body);
        } else {
            append_name(out, "data_base64");
            out += '"';
            append_base64(out, body);
            out += '"';
        }
    }
    out += '}';
    if (out.size() > limits::event_bytes_max) return too_large(out.size());
    out.append(padding_bytes, '\0');
    out.resize(out.size() - padding_bytes);
    return made;
}

}  // namespace weir::http
