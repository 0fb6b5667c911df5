#include "node/event_input.h"

#include "base/limits.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

namespace weir::node {
namespace {

constexpr std::size_t read_bytes = 256 * limits::kib;
constexpr std::size_t inflate_bytes = 256 * limits::kib;  // of output in one step: a bomb fills no more than this
static_assert(EventInput::line_bytes_max < limits::body_bytes_max);

}  // namespace

struct EventInput::State {
    int fd = -1;
    std::string name;
    std::int64_t total = -1;
    std::int64_t read = 0;
    bool file_ended = false;
    bool failed = false;

    // Compressed input.
    bool format_known = false;
    bool is_gzip = false;
    bool in_member = false;
    bool has_zlib = false;
    z_stream zlib{};
    std::string raw;  // read and not yet inflated
    std::size_t raw_at = 0;

    // Lines.
    std::string text;
    std::size_t start = 0;      // of the batch being collected
    std::size_t scanned = 0;    // no LF between the last whole line and here
    std::size_t lines_end = 0;  // end of the last whole line of the batch
    std::int64_t lines = 0;     // whole lines of the batch
    std::int64_t events = 0;
    std::int64_t line_number = 1;  // of the batch's first line
    bool skipping = false;         // inside a line that is too long
    std::int64_t too_long = 0;
    std::int64_t first_too_long = 0;

    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
        if (has_zlib) inflateEnd(&zlib);
        if (fd > STDIN_FILENO) ::close(fd);
    }

    Status read_more();
    Status read_raw();
    Status inflate_some();
    void note_line(std::size_t begin, std::size_t end);
    LineBatch cut();
};

EventInput::EventInput(std::unique_ptr<State> state) : state_(std::move(state)) {}
EventInput::EventInput(EventInput&&) noexcept = default;
EventInput::~EventInput() = default;

Result<EventInput> EventInput::open(const std::string& path) {
    if (path == "-") return of_descriptor(STDIN_FILENO, "stdin");
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return Error{errno == ENOENT ? Errc::not_found : Errc::io, path + ": " + std::strerror(errno), errno};
    struct stat facts {};
    if (::fstat(fd, &facts) == 0 && S_ISDIR(facts.st_mode)) {
        ::close(fd);
        return Error{Errc::invalid_argument, path + " is a folder, not a file"};
    }
    return of_descriptor(fd, path);
}

EventInput EventInput::of_descriptor(int fd, std::string name) {
    auto state = std::make_unique<State>();
    state->fd = fd;
    state->name = std::move(name);
    struct stat facts {};
    if (::fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode)) state->total = facts.st_size;
    return EventInput(std::move(state));
}

int EventInput::fd() const {
    return state_->fd;
}
bool EventInput::has_buffered() const {
    return state_->raw_at < state_->raw.size();
}
bool EventInput::is_at_end() const {
    return state_->file_ended && !has_buffered();
}
std::int64_t EventInput::bytes_read() const {
    return state_->read;
}
std::int64_t EventInput::bytes_total() const {
    return state_->total;
}
std::int64_t EventInput::too_long() const {
    return state_->too_long;
}
std::int64_t EventInput::first_too_long() const {
    return state_->first_too_long;
}

Status EventInput::State::read_raw() {
    std::array<char, read_bytes> bytes;
    const ssize_t got = ::read(fd, bytes.data(), bytes.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return {};
    if (got < 0) return Error{Errc::io, name + ": " + std::strerror(errno), errno};
    file_ended = got == 0;
    read += got;
    raw.append(bytes.data(), static_cast<std::size_t>(got));
    return {};
}

Status EventInput::State::inflate_some() {
    if (!in_member && raw_at < raw.size()) {
        // Members may follow one another; zeros behind the last one are a tape's padding.
        if (raw[raw_at] == '\0') {
            raw_at = std::min(raw.find_first_not_of('\0', raw_at), raw.size());
            return {};
        }
        const int code = has_zlib ? inflateReset(&zlib) : inflateInit2(&zlib, 15 + 16);
        if (code != Z_OK) return Error{Errc::io, name + ": zlib does not start"};
        has_zlib = true;
        in_member = true;
    }
    const std::size_t before = text.size();
    text.resize(before + inflate_bytes);
    zlib.next_in = reinterpret_cast<Bytef*>(raw.data() + raw_at);
    zlib.avail_in = static_cast<uInt>(raw.size() - raw_at);
    zlib.next_out = reinterpret_cast<Bytef*>(text.data() + before);
    zlib.avail_out = static_cast<uInt>(inflate_bytes);
    const int code = inflate(&zlib, Z_NO_FLUSH);
    raw_at = raw.size() - zlib.avail_in;
    text.resize(before + inflate_bytes - zlib.avail_out);
    if (code == Z_STREAM_END) in_member = false;
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
        return Error{Errc::corrupt,
                     name + ": broken gzip (" + (zlib.msg != nullptr ? zlib.msg : "no reason given") + ")"};
    }
    return {};
}

Status EventInput::read_some() {
    Status read = state_->read_more();
    if (!read) state_->failed = true;
    return read;
}

Status EventInput::State::read_more() {
    const auto has_buffered = [this] { return raw_at < raw.size(); };
    if (!has_buffered() && !file_ended) {
        raw.clear();
        raw_at = 0;
        TRY(read_raw());
        // Two bytes tell gzip from text; a pipe may bring them one by one.
        while (!format_known && raw.size() < 2 && !file_ended)
            TRY(read_raw());
        if (!format_known) {
            is_gzip = raw.starts_with("\x1f\x8b");
            format_known = true;
        }
    }
    if (!is_gzip) {
        text.append(raw, raw_at);
        raw_at = raw.size();
    } else if (has_buffered()) {
        TRY(inflate_some());
    }
    // inflate may still hold output for input that it has taken whole; it gives it at the next call with Z_OK, which a
    // member that has not ended shows.
    while (file_ended && !has_buffered() && in_member) {
        const std::size_t before = text.size();
        TRY(inflate_some());
        if (in_member && text.size() == before) return Error{Errc::corrupt, name + ": the gzip file is cut off"};
    }
    return {};
}

void EventInput::State::note_line(std::size_t begin, std::size_t end) {
    ++lines;
    lines_end = end;
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    if (line.find_first_not_of(" \t\r\n") != std::string_view::npos) ++events;
}

LineBatch EventInput::State::cut() {
    LineBatch batch{text.substr(start, lines_end - start), line_number, events};
    line_number += lines;
    start = lines_end;
    lines = events = 0;
    // What is gone is given back once it is the larger part.
    if (start >= text.size() / 2) {
        text.erase(0, start);
        scanned -= start;
        lines_end = start = 0;
    }
    return batch;
}

std::optional<LineBatch> EventInput::take(std::int64_t lines_max, std::size_t bytes_max, bool take_less) {
    State& s = *state_;
    const auto cut_if_any = [&]() -> std::optional<LineBatch> {
        if (s.lines == 0) return std::nullopt;
        return s.cut();
    };
    for (;;) {
        if (s.lines >= lines_max || s.lines_end - s.start >= bytes_max) return s.cut();
        const std::size_t feed = s.text.find('\n', s.scanned);
        const bool is_last = feed == std::string::npos && is_at_end() && !s.failed && s.lines_end < s.text.size();
        if (feed == std::string::npos && !is_last) {
            s.scanned = s.text.size();
            const std::size_t unfinished = s.text.size() - s.lines_end;
            if (s.skipping || unfinished > line_bytes_max) {
                if (s.lines > 0) return s.cut();
                if (!s.skipping) {
                    ++s.too_long;
                    if (s.first_too_long == 0) s.first_too_long = s.line_number;
                }
                s.skipping = true;
                s.text.clear();
                s.start = s.scanned = s.lines_end = 0;
            }
            if (take_less || is_at_end()) return cut_if_any();
            return std::nullopt;
        }
        const std::size_t end = is_last ? s.text.size() : feed + 1;
        if (s.skipping) {
            s.skipping = false;
            ++s.line_number;
            s.start = s.lines_end = s.scanned = end;
            continue;
        }
        // A line that would make the batch too large opens the next one.
        if (s.lines > 0 && end - s.start > bytes_max) return s.cut();
        s.note_line(s.lines_end, end);
        s.scanned = end;
    }
}

}  // namespace weir::node
