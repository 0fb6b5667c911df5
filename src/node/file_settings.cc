#include "node/file_settings.h"

#include "node/console.h"

#include <algorithm>
#include <array>
#include <utility>

namespace weir::node {
namespace {

constexpr std::array<std::pair<const char*, std::string KeyInput::*>, 3> key_fields{
    {{"name", &KeyInput::name}, {"role", &KeyInput::role}, {"sha256", &KeyInput::sha256}}};

Error mistake(const ConfigFile& file, std::size_t line, std::string text) {
    return Error{Errc::invalid_argument, place_in(file, line) + ": " + std::move(text), 0,
                 static_cast<std::int64_t>(line)};
}

std::string did_you_mean(const std::string& meant) {
    return meant.empty() ? std::string() : "; did you mean " + meant + "?";
}

FileKind kind_in_file(SettingType type) {
    switch (type) {
        case SettingType::boolean:
            return FileKind::boolean;
        case SettingType::list:
        case SettingType::keys:
            return FileKind::list;
        case SettingType::text:
        case SettingType::size:
        case SettingType::choice:
        case SettingType::address:
            return FileKind::text;
    }
    return FileKind::text;
}

Result<KeyInput> key_of(const ConfigFile& file, const FileItem& item) {
    if (item.value.kind != FileKind::table)
        return mistake(file, item.value.line,
                       std::string("auth.keys: expected { name = \"...\", role = \"...\", sha256 = \"...\" }, not ") +
                           file_kind_name(item.value.kind));
    KeyInput key;
    for (const FileField& field : item.fields) {
        const auto known =
            std::ranges::find(key_fields, field.key, [](const auto& pair) { return std::string_view(pair.first); });
        if (known == key_fields.end()) {
            std::vector<std::string> names;
            names.reserve(key_fields.size());
            for (const auto& [name, member] : key_fields)
                names.emplace_back(name);
            return mistake(file, field.value.line,
                           "unknown key auth.keys." + printable(field.key) + did_you_mean(nearest(field.key, names)) +
                               " (an API key has name, role and sha256)");
        }
        if (field.value.kind != FileKind::text)
            return mistake(file, field.value.line,
                           "auth.keys." + field.key + ": expected a string, not " + file_kind_name(field.value.kind));
        key.*(known->second) = field.value.text;
    }
    return key;
}

std::vector<std::string> section_names() {
    std::vector<std::string> names;
    for (const SettingRecord& record : setting_records()) {
        if (record.section[0] != '\0' && std::ranges::find(names, record.section) == names.end())
            names.emplace_back(record.section);
    }
    return names;
}

std::string listed(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names)
        text += (text.empty() ? "" : ", ") + name;
    return text;
}

std::string unknown_key(const FileEntry& entry) {
    const std::string name = entry.section.empty() ? entry.key : entry.section + '.' + entry.key;
    const std::string says = "unknown key " + printable(name);
    const std::vector<std::string> sections = section_names();
    if (entry.section.empty() && std::ranges::find(sections, entry.key) != sections.end())
        return printable(entry.key) + " is a section: write [" + entry.key + "], once";
    // A section that resembles none is not one of these, misspelt.
    if (!entry.section.empty() && std::ranges::find(sections, entry.section) == sections.end() &&
        nearest(entry.section, sections).empty())
        return says + "; this version has the sections " + listed(sections);
    std::vector<std::string> names;
    for (const SettingRecord& record : setting_records()) {
        names.push_back(setting_name(record));
        if (record.key != entry.key) continue;  // else: the right word in the wrong place
        return says + did_you_mean(names.back() + (record.section[0] == '\0' ? ", above all sections" : ""));
    }
    return says + did_you_mean(nearest(name, names));
}

}  // namespace

std::string place_in(const ConfigFile& file, std::size_t line) {
    return printable(file.path) + ':' + std::to_string(line);
}

const FileEntry* entry_of(const ConfigFile& file, const SettingRecord& record) {
    const auto found = std::ranges::find_if(file.entries, [&](const FileEntry& entry) {
        return entry.section == record.section && entry.key == record.key;
    });
    return found == file.entries.end() ? nullptr : &*found;
}

Result<SettingInput> input_of(const ConfigFile& file, const FileEntry& entry, const SettingRecord& record) {
    const FileKind kind = entry.value.kind;
    const std::string name = setting_name(record);
    if (kind != kind_in_file(record.type)) {
        const bool is_long = kind == FileKind::list || kind == FileKind::table || record.type == SettingType::keys;
        return mistake(file, entry.value.line,
                       name + (is_long ? "" : " = " + printable(entry.value.text)) + ": expected " +
                           setting_type_in_file(record.type) + " (" + record.allowed + "), not " +
                           file_kind_name(kind));
    }
    SettingInput input;
    if (kind != FileKind::list) input.text = trimmed(entry.value.text);
    for (const FileItem& item : entry.items) {
        if (record.type == SettingType::keys) {
            input.keys.push_back(TRY(key_of(file, item)));
        } else if (item.value.kind == FileKind::text) {
            input.items.emplace_back(trimmed(item.value.text));
        } else {
            return mistake(
                file, item.value.line,
                name + ": expected strings (" + record.allowed + "), not " + file_kind_name(item.value.kind));
        }
    }
    return input;
}

std::vector<Error> unknown_names(const ConfigFile& file) {
    std::vector<Error> mistakes;
    for (const FileEntry& entry : file.entries) {
        const auto is_entry = [&](const SettingRecord& record) {
            return entry.section == record.section && entry.key == record.key;
        };
        if (std::ranges::none_of(setting_records(), is_entry))
            mistakes.push_back(mistake(file, entry.value.line, unknown_key(entry)));
    }
    const std::vector<std::string> sections = section_names();
    for (const FileSection& section : file.sections) {
        // One with keys in it is told by its keys.
        const auto is_in = [&](const FileEntry& entry) { return entry.section == section.name; };
        if (std::ranges::find(sections, section.name) != sections.end() || std::ranges::any_of(file.entries, is_in))
            continue;
        const std::string meant = nearest(section.name, sections);
        mistakes.push_back(
            mistake(file, section.line,
                    "unknown section [" + printable(section.name) + "]" +
                        (meant.empty() ? "; there are " + listed(sections) : did_you_mean('[' + meant + ']'))));
    }
    return mistakes;
}

}  // namespace weir::node
