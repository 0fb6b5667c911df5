#include "node/config_file.h"

#include "node/console.h"
#include "node/sql_command.h"

#include <algorithm>
#include <filesystem>
#include <sstream>

// toml++ 3.3 asserts of every table header that a key begins in it, and has a proper error behind the assertion: "[@]"
// must not end the process. Under NDEBUG it would hand the same claim to the optimiser.
#undef NDEBUG
#define TOML_ASSERT(claim) static_assert(true)
#include <toml++/toml.h>

namespace weir::node {
namespace {

std::string text_of(const toml::node& node) {
    if (const auto* text = node.as_string()) return text->get();
    std::ostringstream out;
    if (const auto* integer = node.as_integer())
        out << integer->get();
    else if (const auto* real = node.as_floating_point())
        out << *real;
    else if (const auto* boolean = node.as_boolean())
        out << (boolean->get() ? "true" : "false");
    else if (const auto* date = node.as_date())
        out << *date;
    else if (const auto* time = node.as_time())
        out << *time;
    else if (const auto* both = node.as_date_time())
        out << *both;
    return std::move(out).str();
}

FileKind kind_of(const toml::node& node) {
    switch (node.type()) {
        case toml::node_type::string:
            return FileKind::text;
        case toml::node_type::integer:
            return FileKind::integer;
        case toml::node_type::floating_point:
            return FileKind::real;
        case toml::node_type::boolean:
            return FileKind::boolean;
        case toml::node_type::date:
        case toml::node_type::time:
        case toml::node_type::date_time:
            return FileKind::time;
        case toml::node_type::array:
            return FileKind::list;
        case toml::node_type::table:
        case toml::node_type::none:
            return FileKind::table;
    }
    return FileKind::table;
}

FileScalar scalar_of(const toml::node& node, std::size_t line) {
    return {kind_of(node), text_of(node), line};
}

std::size_t line_of(const toml::key& key) {
    return key.source().begin.line;
}

FileItem item_of(const toml::node& node) {
    FileItem item{scalar_of(node, node.source().begin.line), {}};
    if (const toml::table* table = node.as_table()) {
        for (const auto& [key, value] : *table)
            item.fields.push_back({std::string(key.str()), scalar_of(value, line_of(key))});
    }
    std::ranges::stable_sort(item.fields, {}, [](const FileField& field) { return field.value.line; });
    return item;
}

FileEntry entry_of(std::string section, const toml::key& key, const toml::node& node) {
    FileEntry entry{std::move(section), std::string(key.str()), scalar_of(node, line_of(key)), {}};
    if (const toml::array* list = node.as_array()) {
        for (const toml::node& item : *list)
            entry.items.push_back(item_of(item));
    }
    return entry;
}

// The first byte that is not ASCII and stands in no string and no comment, npos: there is none. TOML allows none;
// toml++ 3.3 leaves its own code there (is_non_ascii_horizontal_whitespace() reaches __builtin_unreachable() for an e
// with an accent), so it never gets to see one.
std::size_t stray_byte(std::string_view text) {
    constexpr std::string_view before_string = " \t\r\n=,[{";
    const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
    std::size_t at = 0;
    while (at < text.size()) {
        const char c = text[at];
        if (!is_ascii(c)) return at;
        if (c == '#') {
            at = std::min(text.find('\n', at), text.size());
        } else if ((c != '"' && c != '\'') || (at > 0 && before_string.find(text[at - 1]) == std::string_view::npos)) {
            ++at;  // a quote that is glued to something begins no string
        } else {
            const std::string three(3, c);
            const bool is_long = text.substr(at).starts_with(three);
            const std::string_view end = is_long ? std::string_view(three) : std::string_view(three).substr(2);
            at += end.size();
            while (at < text.size() && !text.substr(at).starts_with(end) && (is_long || text[at] != '\n')) {
                const bool escapes = c == '"' && text[at] == '\\' && at + 1 < text.size();
                if (escapes && !is_ascii(text[at + 1])) return at + 1;
                at += escapes ? 2 : 1;
            }
            at = std::min(at + end.size(), text.size());
            // Up to two more quotes before the end are the string's.
            for (int more = 0; is_long && more < 2 && at < text.size() && text[at] == c; ++more)
                ++at;
        }
    }
    return std::string_view::npos;
}

Error not_toml(const std::string& path, std::size_t line, std::size_t column, std::string_view why) {
    return Error{Errc::invalid_argument, printable(path) + ":" + std::to_string(line) + ":" + std::to_string(column) +
                                             ": not TOML: " + printable(why)};
}

}  // namespace

const char* file_kind_name(FileKind kind) {
    switch (kind) {
        case FileKind::text:
            return "a string";
        case FileKind::integer:
            return "an integer";
        case FileKind::real:
            return "a number with a fraction";
        case FileKind::boolean:
            return "a boolean";
        case FileKind::time:
            return "a date or time";
        case FileKind::list:
            return "a list";
        case FileKind::table:
            return "a table";
    }
    return "a table";
}

Result<ConfigFile> parse_config(std::string_view text, const std::string& path) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    if (const std::size_t stray = stray_byte(text); stray != std::string_view::npos) {
        const std::string_view before = text.substr(0, stray);
        const auto line = static_cast<std::size_t>(std::ranges::count(before, '\n'));
        return not_toml(path, line + 1, stray - (line == 0 ? 0 : before.rfind('\n') + 1) + 1,
                        "only strings and comments may hold letters outside of ASCII");
    }
    const toml::parse_result parsed = toml::parse(text, std::string_view(path));
    if (!parsed) {
        const toml::source_position at = parsed.error().source().begin;
        return not_toml(path, at.line, at.column, parsed.error().description());
    }
    ConfigFile file;
    file.path = path;
    for (const auto& [key, node] : parsed.table()) {
        const toml::table* section = node.as_table();
        if (section == nullptr) {
            file.entries.push_back(entry_of({}, key, node));
            continue;
        }
        std::size_t first_line = line_of(key);
        for (const auto& [inner, value] : *section) {
            file.entries.push_back(entry_of(std::string(key.str()), inner, value));
            first_line = std::min(first_line, line_of(inner));
        }
        file.sections.push_back({std::string(key.str()), first_line});
    }
    std::ranges::stable_sort(file.sections, {}, &FileSection::line);
    std::ranges::stable_sort(file.entries, {}, [](const FileEntry& entry) { return entry.value.line; });
    return file;
}

Result<ConfigFile> read_config(const std::string& path) {
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored))
        return Error{Errc::invalid_argument, path + " is a folder, not a configuration file"};
    const std::string text = TRY(read_script(path));
    if (text.size() > config_bytes_max) return Error{Errc::too_large, path + ": a configuration may have 1 MiB"};
    return parse_config(text, path);
}

}  // namespace weir::node
