// Structured log lines on stderr: time, level, event, then key=value pairs.
//
//   2015-05-17T10:05:04.123Z warning slow_flush shard=0 took_ms=212 path="/data/a b"
//
// A value stands bare when it is made of letters, digits and . _ - : / + @ % , alone; else in double quotes with \"
// \\ \n \r \t and \xHH for what a terminal would obey: control bytes, DEL, the C1 controls and bytes that are not
// UTF-8. So one event is one line, whatever a value holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace weir::obs {

enum class Level : std::uint8_t { debug, info, warning, error };

struct Field {
    std::string_view key;
    std::string value;
};

constexpr std::size_t log_line_bytes_max = 4096;

// Lines below `least` cost a comparison. Default: info. Thread-safe.
void set_log_level(Level least);
// Writes one line. Never throws; a line over log_line_bytes_max is cut and ends in "...". Blocks only as long as stderr
// does. Thread-safe: lines do not mix.
void log(Level level, std::string_view event, std::initializer_list<Field> fields = {});

// The part of a line behind time and level, without its end: what log() writes, for tests and for other sinks.
std::string format_fields(std::string_view event, std::initializer_list<Field> fields);

}  // namespace weir::obs
