#include "node/pipe.h"

#include "base/check.h"
#include "base/limits.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace weir::node {
namespace {

constexpr std::size_t answer_body_bytes_max = 16 * limits::mib;
constexpr std::size_t chunk_line_bytes_max = 4096;

Error not_http(const char* what) {
    return Error{Errc::corrupt, std::string("the peer does not speak HTTP/1.1: ") + what};
}

Error lost(const char* what, int number) {
    return Error{Errc::io, std::string(what) + ": " + std::strerror(number), number};
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    return std::ranges::equal(a, b, [&](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
        text.remove_suffix(1);
    return text;
}

template <class T>
bool parse_number(std::string_view text, T& out, int base = 10) {
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out, base);
    return !text.empty() && failure == std::errc() && end == text.data() + text.size();
}

}  // namespace

void AnswerParser::feed(std::string_view bytes) {
    // What was parsed goes once it is the larger part, so that each byte moves at most about once.
    if (at_ > 0 && at_ >= buffer_.size() / 2) {
        buffer_.erase(0, at_);
        chunk_at_ -= std::min(chunk_at_, at_);
        at_ = 0;
    }
    buffer_ += bytes;
}

void AnswerParser::reset() {
    *this = AnswerParser();
}

Result<bool> AnswerParser::take_head(PipeAnswer& /*out*/) {
    const std::string_view rest = std::string_view(buffer_).substr(at_);
    const std::size_t end = rest.find("\r\n\r\n");
    if (end == std::string_view::npos) {
        if (rest.size() > limits::header_bytes_max) return not_http("no end of the head");
        if (rest.size() >= 5 && !rest.starts_with("HTTP/")) return not_http("no status line");
        return false;
    }
    if (end > limits::header_bytes_max) return not_http("the head is too large");
    std::string_view head = rest.substr(0, end + 2);
    const std::string_view status_line = head.substr(0, head.find("\r\n"));
    head_ = PipeAnswer();
    const bool is_1_0 = status_line.starts_with("HTTP/1.0 ");
    if ((!is_1_0 && !status_line.starts_with("HTTP/1.1 ")) || status_line.size() < 12 ||
        !parse_number(status_line.substr(9, 3), head_.status) || head_.status < 100) {
        return not_http("no status line");
    }
    head_.closes = is_1_0;
    bool has_length = false;
    is_chunked_ = false;
    body_bytes_ = 0;
    head.remove_prefix(status_line.size() + 2);
    while (!head.empty()) {
        const std::size_t line_end = head.find("\r\n");
        const std::string_view line = head.substr(0, line_end);
        head.remove_prefix(line_end + 2);
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos) return not_http("a header without a colon");
        const std::string_view name = line.substr(0, colon);
        const std::string_view value = trimmed(line.substr(colon + 1));
        if (equals_ignoring_case(name, "content-length")) {
            if (!parse_number(value, body_bytes_)) return not_http("Content-Length");
            has_length = true;
        } else if (equals_ignoring_case(name, "transfer-encoding")) {
            if (!equals_ignoring_case(value, "chunked")) return not_http("Transfer-Encoding");
            is_chunked_ = true;
        } else if (equals_ignoring_case(name, "connection")) {
            if (equals_ignoring_case(value, "close")) head_.closes = true;
        } else if (equals_ignoring_case(name, "retry-after")) {
            parse_number(value, head_.retry_after_s);
        }
    }
    if (body_bytes_ > answer_body_bytes_max) return not_http("the body is too large");
    const bool has_no_body = head_.status < 200 || head_.status == 204 || head_.status == 304;
    if (!has_length && !is_chunked_ && !has_no_body) return not_http("a body without a length");
    if (has_no_body) {
        is_chunked_ = false;
        body_bytes_ = 0;
    }
    at_ += end + 4;
    chunk_at_ = at_;
    has_head_ = true;
    return true;
}

Result<bool> AnswerParser::take_chunked(PipeAnswer& out) {
    for (;;) {
        const std::string_view rest = std::string_view(buffer_).substr(chunk_at_);
        const std::size_t line_end = rest.find("\r\n");
        if (line_end == std::string_view::npos) {
            if (rest.size() > chunk_line_bytes_max) return not_http("chunk size");
            return false;
        }
        std::string_view size_text = rest.substr(0, line_end);
        size_text = trimmed(size_text.substr(0, size_text.find(';')));
        std::size_t size = 0;
        if (!parse_number(size_text, size, 16)) return not_http("chunk size");
        if (size > answer_body_bytes_max - head_.body.size()) return not_http("the body is too large");
        if (size == 0) {
            // Trailers are not used by anybody we talk to: only the empty line may follow.
            if (rest.size() < line_end + 4) return false;
            if (rest.substr(line_end + 2, 2) != "\r\n") return not_http("trailers");
            at_ = chunk_at_ + line_end + 4;
            out = std::move(head_);
            has_head_ = false;
            return true;
        }
        if (rest.size() < line_end + 2 + size + 2) return false;
        head_.body += rest.substr(line_end + 2, size);
        if (rest.substr(line_end + 2 + size, 2) != "\r\n") return not_http("the end of a chunk");
        chunk_at_ += line_end + 2 + size + 2;
        at_ = chunk_at_;
    }
}

Result<bool> AnswerParser::next(PipeAnswer& out) {
    for (;;) {
        if (!has_head_ && !TRY(take_head(out))) return false;
        if (head_.status >= 200) break;
        has_head_ = false;  // 100 Continue and its like
    }
    if (is_chunked_) return take_chunked(out);
    if (buffer_.size() - at_ < body_bytes_) return false;
    head_.body.assign(buffer_, at_, body_bytes_);
    at_ += body_bytes_;
    has_head_ = false;
    out = std::move(head_);
    return true;
}

Result<Pipe> Pipe::connect(const ServerAddress& address, std::int64_t timeout_ms) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const std::string port = std::to_string(address.port);
    if (const int failure = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found); failure != 0) {
        return Error{Errc::io, address.host + ": " + gai_strerror(failure)};
    }
    Error last{Errc::io, "no address"};
    for (const addrinfo* option = found; option != nullptr; option = option->ai_next) {
        const int fd = socket(option->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            last = lost("socket", errno);
            continue;
        }
        Pipe pipe(fd);
        if (::connect(fd, option->ai_addr, option->ai_addrlen) != 0 && errno != EINPROGRESS) {
            last = lost("connect", errno);
            continue;
        }
        pollfd ready{fd, POLLOUT, 0};
        const int count = ::poll(&ready, 1, static_cast<int>(timeout_ms));
        int failure = count == 0 ? ETIMEDOUT : count < 0 ? errno : 0;
        socklen_t length = sizeof failure;
        if (count > 0) getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &length);
        if (failure != 0) {
            last = lost("connect", failure);
            continue;
        }
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        freeaddrinfo(found);
        return pipe;
    }
    freeaddrinfo(found);
    return last;
}

Pipe::~Pipe() {
    if (fd_ >= 0) ::close(fd_);
}
Pipe::Pipe(Pipe&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
Pipe& Pipe::operator=(Pipe&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
}

Result<std::size_t> Pipe::write(std::string_view bytes) {
    CHECK(fd_ >= 0);
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<std::size_t>(sent);
    if (errno == EAGAIN || errno == EINTR) return std::size_t{0};
    return lost("send", errno);
}

Result<bool> Pipe::read_into(AnswerParser& parser) {
    CHECK(fd_ >= 0);
    std::array<char, 65536> bytes;
    const ssize_t got = ::recv(fd_, bytes.data(), bytes.size(), 0);
    if (got > 0) {
        parser.feed({bytes.data(), static_cast<std::size_t>(got)});
        return true;
    }
    if (got == 0) return Error{Errc::io, "closed by the server"};
    if (errno == EAGAIN || errno == EINTR) return false;
    return lost("receive", errno);
}

std::string request_head(const ServerChoice& choice, const std::string& path, std::string_view content_type,
                         std::size_t body_bytes) {
    std::string head = "POST " + choice.address.prefix + path + " HTTP/1.1\r\nHost: ";
    head += choice.address.text().substr(7, choice.address.text().size() - 7 - choice.address.prefix.size());
    head += "\r\nContent-Type: ";
    head += content_type;
    head += "\r\nContent-Length: " + std::to_string(body_bytes) + "\r\n";
    if (!choice.api_key.empty()) head += "Authorization: Bearer " + choice.api_key + "\r\n";
    return head + "\r\n";
}

}  // namespace weir::node
