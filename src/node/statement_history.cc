#include "node/statement_history.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace weir::node {
namespace {

std::string escaped(std::string_view statement) {
    std::string line;
    for (const char c : statement) {
        if (c == '\\' || c == '\n') line += '\\';
        line += c == '\n' ? 'n' : c;
    }
    return line + '\n';
}

std::string unescaped(std::string_view line) {
    std::string statement;
    for (std::size_t i = 0; i < line.size(); ++i) {
        const bool escape = line[i] == '\\' && i + 1 < line.size();
        if (escape) ++i;
        statement += escape && line[i] == 'n' ? '\n' : line[i];
    }
    return statement;
}

// The last bytes of a regular file, "" where there is none.
std::string read_end(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return {};
    struct stat facts {};
    std::string text;
    if (::fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode)) {
        const auto size = static_cast<std::size_t>(facts.st_size);
        if (size > history_file_bytes_max) ::lseek(fd, -static_cast<off_t>(history_file_bytes_max), SEEK_END);
        std::array<char, 65536> piece;
        ssize_t got = 0;
        while (text.size() < history_file_bytes_max && (got = ::read(fd, piece.data(), piece.size())) > 0)
            text.append(piece.data(), static_cast<std::size_t>(got));
        // Its first line may be half a one.
        if (size > history_file_bytes_max) text.erase(0, text.find('\n') + 1);
    }
    ::close(fd);
    return text;
}

Status write_to(const std::string& path, int flags, std::string_view text) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
    if (fd < 0) return Error{Errc::io, path + ": " + std::strerror(errno), errno};
    ::fchmod(fd, 0600);
    const bool whole = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    const int failure = errno;
    ::close(fd);
    if (!whole) return Error{Errc::io, path + ": " + std::strerror(failure), failure};
    return {};
}

}  // namespace

StatementHistory::StatementHistory(std::string path) : path_(std::move(path)) {
    if (path_.empty()) return;
    const std::string text = read_end(path_);
    std::size_t lines = 0;
    for (std::size_t at = 0; at < text.size(); ++lines) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        if (end > at && end - at <= 2 * history_entry_bytes_max) {
            entries_.push_back(unescaped(std::string_view(text).substr(at, end - at)));
        }
        at = end + 1;
    }
    if (entries_.size() > history_entries_max) {
        entries_.erase(entries_.begin(), entries_.end() - static_cast<std::ptrdiff_t>(history_entries_max));
    }
    if (lines < 2 * history_entries_max) return;
    std::string kept;
    for (const std::string& entry : entries_)
        kept += escaped(entry);
    // Whole or not at all; where it fails the file is only longer than it need be.
    const std::string fresh = path_ + ".new";
    if (write_to(fresh, O_TRUNC, kept)) std::rename(fresh.c_str(), path_.c_str());
}

Status StatementHistory::add(std::string_view statement) {
    if (statement.empty() || statement.size() > history_entry_bytes_max) return {};
    if (!entries_.empty() && entries_.back() == statement) return {};
    entries_.emplace_back(statement);
    if (entries_.size() > history_entries_max) entries_.erase(entries_.begin());
    if (path_.empty()) return {};
    std::error_code failure;
    const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
    if (!std::filesystem::exists(folder, failure)) {
        std::filesystem::create_directories(folder, failure);
        if (!failure) std::filesystem::permissions(folder, std::filesystem::perms::owner_all, failure);
        if (failure) return Error{Errc::io, folder.string() + ": " + failure.message()};
    }
    return write_to(path_, O_APPEND, escaped(statement));
}

std::string history_path(std::string_view xdg_state_home, std::string_view home) {
    // What is not absolute is to be ignored (XDG Base Directory Specification 0.8).
    if (xdg_state_home.starts_with('/')) return std::string(xdg_state_home) + "/weir/sql_history";
    if (home.starts_with('/')) return std::string(home) + "/.local/state/weir/sql_history";
    return {};
}

}  // namespace weir::node
