#include "node/config_command.h"

#include "node/rows.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace weir::node {
namespace {

constexpr std::size_t origin_column = 44;

// A basic string of TOML.
std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            std::array<char, 8> escape{};
            std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(c));
            out += escape.data();
        } else {
            out += c;
        }
    }
    return out + '"';
}

std::string toml_value(SettingType type, const std::string& value) {
    switch (type) {
        case SettingType::boolean:
            return value;
        case SettingType::list: {
            std::string out;
            for (const std::string& item : parse_list(value))
                out += (out.empty() ? "" : ", ") + quoted(item);
            return '[' + out + ']';
        }
        case SettingType::text:
        case SettingType::size:
        case SettingType::choice:
        case SettingType::address:
        case SettingType::keys:
            return quoted(value);
    }
    return quoted(value);
}

std::string origin_text(const EffectiveSetting& setting) {
    return origin_name(setting.origin) + (setting.source.empty() ? std::string() : ' ' + setting.source);
}

RowSet rows_of(const LoadedSettings& loaded) {
    RowSet rows;
    rows.names = {"key", "value", "origin", "source"};
    rows.types = {"TEXT", "TEXT", "TEXT", "TEXT"};
    for (const EffectiveSetting& setting : loaded.effective) {
        const auto text = [](const std::string& value) { return Cell{Cell::Kind::text, value}; };
        rows.rows.push_back(
            {text(setting.name), text(setting.value), text(origin_name(setting.origin)), text(setting.source)});
    }
    return rows;
}

// The objects that stand a line each, as one document.
std::string as_array(std::string lines) {
    if (lines.ends_with('\n')) lines.pop_back();
    std::string out = "[\n";
    for (const char c : lines) {
        if (c == '\n') out += ',';
        out += c;
    }
    return out + "\n]\n";
}

}  // namespace

Result<PrintFormat> parse_print_format(std::string_view text) {
    for (const auto& [word, format] : {std::pair{"toml", PrintFormat::toml}, std::pair{"table", PrintFormat::table},
                                       std::pair{"json", PrintFormat::json}, std::pair{"ndjson", PrintFormat::ndjson},
                                       std::pair{"csv", PrintFormat::csv}})
        if (text == word) return format;
    return Error{Errc::invalid_argument, "-o takes toml, table, json, ndjson or csv, not \"" + printable(text) + "\""};
}

std::string settings_as_toml(const LoadedSettings& loaded, bool origin) {
    std::string out;
    for (std::size_t i = 0; i < loaded.effective.size(); ++i) {
        const EffectiveSetting& setting = loaded.effective[i];
        const SettingType type = setting_records()[i].type;
        std::string line = (type == SettingType::keys ? "# " : "") + setting.name + " = ";
        line += toml_value(type, setting.value);
        if (type == SettingType::keys && !setting.value.empty()) line += " (name:role; digests are not shown)";
        if (origin) {
            line.resize(std::max(line.size() + 2, origin_column), ' ');
            line += "# " + printable(origin_text(setting));
        }
        out += line + '\n';
    }
    return out;
}

Exit run_config_print(const Console& console, const LoadedSettings& loaded, const ConfigPrintOptions& options) {
    std::string text;
    switch (options.format) {
        case PrintFormat::toml:
            text = settings_as_toml(loaded, options.origin);
            break;
        case PrintFormat::table:
            text = format_table(rows_of(loaded), 0);
            break;
        case PrintFormat::json:
            text = as_array(format_ndjson(rows_of(loaded)));
            break;
        case PrintFormat::ndjson:
            text = format_ndjson(rows_of(loaded));
            break;
        case PrintFormat::csv:
            text = format_csv(rows_of(loaded));
            break;
    }
    console.write(text);
    console.flush();
    return Exit::ok;
}

Exit run_config_check(const Console& console, const LoadedSettings& loaded, const std::string& path) {
    const auto told = [&](Origin origin) {
        return std::ranges::count(loaded.effective, origin, &EffectiveSetting::origin);
    };
    console.say("good: " +
                (path.empty() ? std::string()
                              : people_count_of(told(Origin::file), "setting") + " from " + printable(path) + ", ") +
                people_count(told(Origin::environment)) + " from the environment, " + people_count(told(Origin::flag)) +
                " from flags, " + people_count(told(Origin::built_in)) + " by default");
    return Exit::ok;
}

}  // namespace weir::node
