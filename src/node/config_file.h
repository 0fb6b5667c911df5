// The configuration file: TOML read to plain values that know their line. What the keys mean is the business of
// node/settings.h; TOML's library stays behind config_file.cc (it is heavy to compile).
//
// Bounds: limits of this page for bytes; TOML nests at most 256 deep.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::node {

inline constexpr std::size_t config_bytes_max = 1 << 20;

enum class FileKind : std::uint8_t { text, integer, real, boolean, time, list, table };
const char* file_kind_name(FileKind kind);  // "a string", "an integer", ...

struct FileScalar {
    FileKind kind = FileKind::text;
    std::string text;  // of a string the string, else as TOML writes it; "" for lists and tables
    std::size_t line = 0;
};

struct FileField {
    std::string key;
    FileScalar value;  // list, table: deeper than any setting goes, without what is in it
};

struct FileItem {
    FileScalar value;
    std::vector<FileField> fields;  // of a table, by line
};

// One `key = value`, or one list of tables.
struct FileEntry {
    std::string section;  // "" above all sections
    std::string key;
    FileScalar value;
    std::vector<FileItem> items;  // of a list
};

struct FileSection {
    std::string name;
    std::size_t line = 0;
};

struct ConfigFile {
    std::string path;                   // "" no file was given
    std::vector<FileSection> sections;  // each by its first line
    std::vector<FileEntry> entries;     // by line
};

// Errors: invalid_argument ("weir.toml:7:3: ...").
Result<ConfigFile> parse_config(std::string_view text, const std::string& path);
// Errors: also not_found, io, too_large.
Result<ConfigFile> read_config(const std::string& path);

}  // namespace weir::node
