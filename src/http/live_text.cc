#include "http/detail/live_text.h"

#include "http/detail/json_text.h"
#include "http/detail/result_writer.h"
#include "record/time.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace weir::http {

void append_event(std::string& out, const query::Event& event) {
    out += '{';
    append_member(out, "cursor", event.cursor.text());
    append_member(out, "partition", event.partition);
    append_member(out, "offset", event.offset);
    append_member(out, "append_time", record::format_rfc3339(event.append_time_ms));
    append_name(out, "value");
    // Valid JSON since it was accepted; an empty one is a tombstone.
    out += event.value.empty() ? std::string_view("null") : std::string_view(event.value);
    out += '}';
}

void append_view_row(std::string& out, const std::vector<query::QueryColumn>& columns, std::string_view key,
                     const std::vector<store::Value>* values) {
    constexpr std::string_view hex = "0123456789abcdef";
    out += "{\"key\":\"";
    for (const char c : key) {
        const auto byte = static_cast<unsigned char>(c);
        out += hex[byte >> 4];
        out += hex[byte & 15];
    }
    out += "\",\"row\":";
    if (values == nullptr) {
        out += "null}";
        return;
    }
    for (std::size_t i = 0; i < columns.size() && i < values->size(); ++i) {
        out += i == 0 ? '{' : ',';
        append_json_string(out, columns[i].name);
        out += ':';
        append_json_value(out, columns[i].type, (*values)[i]);
    }
    out += "}}";
}

void append_sse(std::string& out, std::string_view event, std::string_view id, std::string_view data) {
    if (!event.empty()) {
        out += "event: ";
        out += event;
        out += '\n';
    }
    if (!id.empty()) {
        out += "id: ";
        out += id;
        out += '\n';
    }
    while (true) {
        const std::size_t end = data.find_first_of("\r\n");
        out += "data: ";
        out += data.substr(0, end);
        out += '\n';
        if (end == std::string_view::npos) break;
        data.remove_prefix(data.substr(end).starts_with("\r\n") ? end + 2 : end + 1);
    }
    out += '\n';
}

void append_sse_beat(std::string& out, std::string_view id) {
    out += ":\n";
    if (!id.empty()) {
        out += "id: ";
        out += id;
        out += '\n';
    }
    out += '\n';
}

void append_point(std::string& out, float value) {
    if (!std::isfinite(value)) {
        out += "null";
        return;
    }
    std::array<char, 32> text{};
    const auto written = std::to_chars(text.data(), text.data() + text.size(), value);
    out.append(text.data(), written.ptr);
}

void append_chunk(std::string& out, std::string_view bytes) {
    std::array<char, 24> size{};
    const int n = std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
    out.append(size.data(), static_cast<std::size_t>(n));
    out += bytes;
    out += "\r\n";
}

}  // namespace weir::http
