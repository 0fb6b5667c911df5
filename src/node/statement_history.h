// What was typed in `weir sql`, across sessions: a file below the user's state directory that nobody else can read.
//
// One statement a line, oldest first; a line break in it is written \n, a backslash \\. Sessions append, so that two at
// a time keep both. Above twice its bound the file is cut to the newest when it is read. Owner: one thread.
#pragma once

#include "base/result.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace weir::node {

constexpr std::size_t history_entries_max = 1000;
constexpr std::size_t history_entry_bytes_max = 16 * 1024;  // longer ones are not kept
constexpr std::size_t history_file_bytes_max = std::size_t{8} << 20;

class StatementHistory {
  public:
    // `path` "": nothing is read or written. A file that cannot be read is as an empty one.
    explicit StatementHistory(std::string path);
    // Oldest first, at most history_entries_max.
    const std::vector<std::string>& entries() const { return entries_; }
    // Errors: io (the file cannot be written); the entry counts for this session all the same.
    Status add(std::string_view statement);

  private:
    std::string path_;
    std::vector<std::string> entries_;
};

// $XDG_STATE_HOME/weir/sql_history, else ~/.local/state/weir/sql_history; "" where there is neither.
std::string history_path(std::string_view xdg_state_home, std::string_view home);

}  // namespace weir::node
