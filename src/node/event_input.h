// Lines of a file or of stdin, gzip or not, cut into the bodies of requests. Memory stays bounded: one read ahead, one
// batch and one line.
//
// Owner: one thread.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace weir::node {

struct LineBatch {
    std::string body;             // whole lines, each with its LF (the last of the input may have none)
    std::int64_t first_line = 1;  // number of its first line in the input, from 1
    std::int64_t events = 0;      // lines that are not blank
};

class EventInput {
  public:
    // "-" is stdin. Errors: not_found, invalid_argument (a folder), io (says which file).
    static Result<EventInput> open(const std::string& path);
    // Takes `fd` over.
    static EventInput of_descriptor(int fd, std::string name);
    EventInput(EventInput&&) noexcept;
    EventInput& operator=(EventInput&&) = delete;
    ~EventInput();

    int fd() const;
    // What was read already gives more without touching the descriptor.
    bool has_buffered() const;
    bool is_at_end() const;            // every byte was read
    std::int64_t bytes_read() const;   // of the file, compressed where it is
    std::int64_t bytes_total() const;  // -1: not a regular file

    // One read(2) at most; blocks where the descriptor does. Errors: io, corrupt (gzip that is broken or cut off).
    // After an error nothing more is read, and a last line without LF is not given: it may be half of one.
    Status read_some();
    // The next lines: up to `lines_max` and, unless one line alone is longer, `bytes_max`. nullopt: not enough is
    // there yet; with `take_less` whatever whole lines there are (and at the end the last line without LF).
    std::optional<LineBatch> take(std::int64_t lines_max, std::size_t bytes_max, bool take_less);
    // Lines longer than a request may be: left out. Their number, and the line number of the first.
    std::int64_t too_long() const;
    std::int64_t first_too_long() const;

    static constexpr std::size_t line_bytes_max = 60u << 20;

  private:
    struct State;
    explicit EventInput(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace weir::node
