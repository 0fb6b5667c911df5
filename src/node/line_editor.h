// One line from a terminal, with the keys that people know from their shell, history and completion. Owner: one thread.
#pragma once

#include "base/result.h"
#include "node/sql_completion.h"
#include "os/signals.h"

#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace weir::node {

class LineEditor {
  public:
    // What may stand at the end of `line_up_to_cursor`.
    using CompleteFn = std::function<SqlCompletion(std::string_view line_up_to_cursor)>;
    enum class Read : std::uint8_t { line, interrupted, ended };

    // `in` and `out` are a terminal; the signals are taken by the caller, who outlives the editor. The process's
    // LC_CTYPE is set, to UTF-8 where the environment names no encoding. Errors: io (this terminal cannot be driven).
    static Result<LineEditor> open(std::FILE* in, std::FILE* out, std::FILE* err, os::StopSignals& signals,
                                   CompleteFn complete);
    LineEditor(LineEditor&&) noexcept;
    ~LineEditor();

    // line: without its line feed. interrupted: Ctrl-C; what was typed is dropped. ended: Ctrl-D on an empty line, the
    // terminal has gone, or SIGTERM.
    Read read(const std::string& prompt, std::string& line);
    // What the arrow up key brings back first.
    void remember(const std::string& entry);

  private:
    struct State;
    explicit LineEditor(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace weir::node
