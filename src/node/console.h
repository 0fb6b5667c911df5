// Where a command speaks: data on `out`, words for people on `err`. Files, so that tests can read both.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "node/exit_code.h"

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace weir::node {

struct Console {
    std::FILE* out = stdout;  // borrowed
    std::FILE* err = stderr;  // borrowed
    bool out_is_terminal = false;
    bool err_is_terminal = false;
    int width = 80;          // columns of the terminal; only used on one
    Clock* clock = nullptr;  // borrowed; never null in a command
    // errno of the first write to `out` that failed; EPIPE: its reader has gone, which is no fault.
    mutable int write_error = 0;

    // Whole text or nothing more: false once the reader has gone (closed pipe), which ends a command quietly.
    bool write(std::string_view data) const;
    bool flush() const;
    void say(std::string_view line) const;  // one line to err
    // "error: ..." and, where `next` is not empty, "  try: ...".
    void error(std::string_view text, std::string_view next = {}) const;
};

// Text from outside for a terminal: control bytes, DEL and the C1 range become \n, \t or \x1b escapes.
std::string printable(std::string_view text);

// Columns that `text` (UTF-8) takes on a terminal: wide characters count 2, combining ones 0.
int display_width(std::string_view text);

// "1,284,002", "12.4 MiB", "1.2 s": what people read. Negative counts keep their sign.
std::string people_count(std::int64_t count);
// "1 view", "2 views".
std::string people_count_of(std::int64_t count, std::string_view noun);
std::string people_bytes(double bytes);
std::string people_duration_ms(double ms);

// The candidate nearest to `word` by edit distance, empty when none is near enough to be meant.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace weir::node
