#include "node/event_stream.h"

#include "base/limits.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <utility>

namespace weir::node {
namespace {

constexpr std::size_t event_bytes_max = 64 * limits::mib;
constexpr std::size_t refusal_bytes_max = limits::mib;

enum class Waited : std::uint8_t { ready, timeout, stopped };

Waited wait_for(int fd, short events, int stop_fd, int out_fd, std::int64_t timeout_ms) {
    std::array<pollfd, 3> fds{{{fd, events, 0}, {stop_fd, POLLIN, 0}, {out_fd, 0, 0}}};
    const int ready = ::poll(fds.data(), fds.size(), static_cast<int>(timeout_ms));
    if (ready <= 0) return Waited::timeout;
    return fds[1].revents != 0 || fds[2].revents != 0 ? Waited::stopped : Waited::ready;
}

std::string request_of(const ServerChoice& choice, const std::string& path, const std::string& last_id) {
    const ServerAddress& address = choice.address;
    const bool is_v6 = address.host.find(':') != std::string::npos;
    std::string out = "GET " + address.prefix + path + " HTTP/1.0\r\nHost: ";
    out += (is_v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
    out += "\r\nAccept: text/event-stream\r\n";
    if (!choice.api_key.empty()) out += "Authorization: Bearer " + choice.api_key + "\r\n";
    if (!last_id.empty()) out += "Last-Event-ID: " + last_id + "\r\n";
    return out + "\r\n";
}

// Appends what is there. False: the connection has ended.
bool receive(int fd, std::string& bytes) {
    std::array<char, 65'536> block{};
    const ssize_t got = ::recv(fd, block.data(), block.size(), MSG_DONTWAIT);
    if (got > 0) bytes.append(block.data(), static_cast<std::size_t>(got));
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR));
}

}  // namespace

Result<std::optional<ServerEvent>> ServerEventParser::next() {
    ServerEvent event;
    std::string id = last_id_;
    bool has_data = false;
    std::size_t at = at_;
    while (true) {
        const std::size_t end = buffer_.find('\n', at);
        if (end == std::string::npos) {
            if (buffer_.size() - at_ > event_bytes_max)
                return Error{Errc::too_large, "an event of the server has no end"};
            // What was read goes once it is the larger part, so that each byte moves at most about once.
            if (at_ > 0 && at_ >= buffer_.size() / 2) {
                buffer_.erase(0, at_);
                at_ = 0;
            }
            return std::optional<ServerEvent>();
        }
        std::string_view line = std::string_view(buffer_).substr(at, end - at);
        if (line.ends_with('\r')) line.remove_suffix(1);
        at = end + 1;
        if (line.empty()) {
            at_ = at;
            last_id_ = id;
            if (has_data) return std::optional<ServerEvent>(std::move(event));
            event = {};
            continue;
        }
        const std::size_t colon = line.find(':');
        const std::string_view name = line.substr(0, colon);
        std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
        if (value.starts_with(' ')) value.remove_prefix(1);
        if (name == "data") {
            if (std::exchange(has_data, true)) event.data += '\n';
            event.data += value;
        } else if (name == "event") {
            event.event = value;
        } else if (name == "id") {
            id = value;
        }
    }
}

Result<EventStream> EventStream::open(const ServerChoice& choice, const std::string& path, const std::string& last_id,
                                      int stop_fd, std::int64_t timeout_ms, std::optional<Problem>& refused) {
    EventStream stream(TRY(Pipe::connect(choice.address, timeout_ms)));
    const auto waited = [&](short events) -> Status {
        switch (wait_for(stream.pipe_.fd(), events, stop_fd, -1, timeout_ms)) {
            case Waited::ready:
                return {};
            case Waited::stopped:
                return Error{Errc::cancelled, "stopped"};
            case Waited::timeout:
                break;
        }
        return Error{Errc::deadline, choice.address.text() + " does not answer"};
    };
    std::string request = request_of(choice, path, last_id);
    while (!request.empty()) {
        request.erase(0, TRY(stream.pipe_.write(request)));
        if (!request.empty()) TRY(waited(POLLOUT));
    }
    std::string bytes;
    std::size_t end = 0;
    bool open = true;
    while ((end = bytes.find("\r\n\r\n")) == std::string::npos) {
        if (!open || bytes.size() > limits::header_bytes_max)
            return Error{open ? Errc::corrupt : Errc::io, choice.address.text() + " closed the connection"};
        TRY(waited(POLLIN));
        open = receive(stream.pipe_.fd(), bytes);
    }
    Answer answer;
    const bool is_http = bytes.starts_with("HTTP/1.") && bytes.size() > 12;
    if (is_http) std::from_chars(bytes.data() + 9, bytes.data() + 12, answer.status);
    if (answer.status == 200 && bytes.find("text/event-stream") < end) {
        if (!last_id.empty()) stream.parser_.feed("id: " + last_id + "\n\n");  // until the server says another
        stream.parser_.feed(std::string_view(bytes).substr(end + 4));
        return stream;
    }
    while (open && bytes.size() < refusal_bytes_max) {
        TRY(waited(POLLIN));
        open = receive(stream.pipe_.fd(), bytes);
    }
    answer.body = bytes.substr(end + 4);
    refused = problem_of(choice.address, answer);
    return stream;
}

Result<EventStream::Next> EventStream::next(ServerEvent& event, int stop_fd, int out_fd, std::int64_t timeout_ms) {
    heard_ = false;
    while (true) {
        if (auto found = TRY(parser_.next())) {
            event = std::move(*found);
            return Next::event;
        }
        switch (wait_for(pipe_.fd(), POLLIN, stop_fd, out_fd, timeout_ms)) {
            case Waited::stopped:
                return Next::stopped;
            case Waited::timeout:
                return Next::quiet;
            case Waited::ready:
                break;
        }
        std::string bytes;
        const bool open = receive(pipe_.fd(), bytes);
        heard_ |= !bytes.empty();
        parser_.feed(bytes);
        if (!open) {
            // What came with the end.
            if (auto found = TRY(parser_.next())) {
                event = std::move(*found);
                return Next::event;
            }
            return Next::ended;
        }
    }
}

}  // namespace weir::node
