#include "node/load_run.h"

#include "base/limits.h"
#include "node/pipe.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <deque>
#include <memory>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace weir::node {
namespace {

constexpr std::int64_t connect_timeout_ms = 5'000;
constexpr std::int64_t refused_wait_us = 50'000;
constexpr std::int64_t silence_us_max = 60'000'000;  // no answer at all: something hangs
constexpr std::int64_t last_sample_us_max = 10'000'000;

std::int64_t integer_behind(std::string_view body, std::string_view key) {
    const std::size_t at = body.find(key);
    std::int64_t value = 0;
    if (at != std::string_view::npos) std::from_chars(body.data() + at + key.size(), body.data() + body.size(), value);
    return value;
}

std::string text_behind(std::string_view body, std::string_view key) {
    const std::size_t at = body.find(key);
    if (at == std::string_view::npos) return {};
    const std::string_view rest = body.substr(at + key.size());
    return std::string(rest.substr(0, rest.find('"')));
}

struct Connection {
    Pipe pipe;
    AnswerParser answers;
    std::size_t request = 0;
    std::size_t sent = 0;       // of head and body together
    std::int64_t since_us = 0;  // due (open loop) or begun
    bool is_busy = false;
    bool wants_out = false;
};

struct Retry {
    std::size_t request = 0;
    std::int64_t since_us = 0;
    std::int64_t at_us = 0;
};

class Runner {
  public:
    Runner(const ServerChoice& server, const Load& load, const LoadRunOptions& options, Clock& clock)
        : server_(server), load_(load), options_(options), clock_(clock) {}
    ~Runner() {
        if (epoll_ >= 0) ::close(epoll_);
    }
    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;

    Result<LoadRunResult> run();

  private:
    static constexpr std::uint64_t tag_sampler = ~0ull;
    static constexpr std::uint64_t tag_stop = ~1ull;

    Status open();
    Status watch(int fd, std::uint64_t tag, bool wants_out, bool is_new) const;
    Status start_due();
    Status push(std::size_t index);
    Status take_answers(std::size_t index);
    Status on_answer(Connection& connection, const PipeAnswer& answer);
    Status sample(std::int64_t acked_us);
    Status push_sample();
    Status take_sample();
    int wait_ms() const;

    const ServerChoice& server_;
    const Load& load_;
    const LoadRunOptions& options_;
    Clock& clock_;
    int epoll_ = -1;
    std::vector<std::string> heads_;
    std::vector<Connection> connections_;
    std::vector<std::size_t> idle_;
    std::deque<Retry> retries_;
    std::size_t next_ = 0;
    std::size_t done_ = 0;
    std::int64_t start_us_ = 0;
    double gap_us_ = 0;  // between due times; 0: closed loop
    std::int64_t heard_us_ = 0;

    std::unique_ptr<Connection> sampler_;
    std::string sample_request_;
    std::int64_t sample_next_us_ = 0;
    LoadRunResult result_;
};

Status Runner::watch(int fd, std::uint64_t tag, bool wants_out, bool is_new) const {
    epoll_event event{};
    event.events = EPOLLIN | (wants_out ? static_cast<std::uint32_t>(EPOLLOUT) : 0u);
    event.data.u64 = tag;
    if (epoll_ctl(epoll_, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) != 0) {
        return Error{Errc::io, "epoll_ctl", errno};
    }
    return {};
}

Status Runner::open() {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) return Error{Errc::io, "epoll_create1", errno};
    const std::string path = "/v1/streams/" + url_escape(options_.stream) + "/events";
    for (std::size_t i = 0; i < load_.requests(); ++i) {
        heads_.push_back(request_head(server_, path, "application/x-ndjson", load_.body(i).size()));
    }
    for (std::int64_t i = 0; i < options_.connections; ++i) {
        connections_.push_back(Connection{TRY(Pipe::connect(server_.address, connect_timeout_ms)), {}});
        TRY(watch(connections_.back().pipe.fd(), static_cast<std::uint64_t>(i), false, true));
        idle_.push_back(static_cast<std::size_t>(i));
    }
    if (!options_.lag_query.empty()) {
        sampler_ =
            std::make_unique<Connection>(Connection{TRY(Pipe::connect(server_.address, connect_timeout_ms)), {}});
        TRY(watch(sampler_->pipe.fd(), tag_sampler, false, true));
    }
    if (options_.stop_fd >= 0) TRY(watch(options_.stop_fd, tag_stop, false, true));
    return {};
}

Status Runner::push(std::size_t index) {
    Connection& connection = connections_[index];
    const std::string& head = heads_[connection.request];
    const std::string_view body = load_.body(connection.request);
    const std::size_t total = head.size() + body.size();
    while (connection.sent < total) {
        // Head and body leave in one segment where they fit.
        std::array<iovec, 2> pieces{};
        std::size_t count = 0;
        if (connection.sent < head.size()) {
            pieces[count++] = {const_cast<char*>(head.data()) + connection.sent, head.size() - connection.sent};
            pieces[count++] = {const_cast<char*>(body.data()), body.size()};
        } else {
            const std::size_t at = connection.sent - head.size();
            pieces[count++] = {const_cast<char*>(body.data()) + at, body.size() - at};
        }
        msghdr message{};
        message.msg_iov = pieces.data();
        message.msg_iovlen = count;
        const ssize_t sent = ::sendmsg(connection.pipe.fd(), &message, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return Error{Errc::io, "the server closed a connection", errno};
        if (sent <= 0) {
            if (!connection.wants_out) TRY(watch(connection.pipe.fd(), index, true, false));
            connection.wants_out = true;
            return {};
        }
        connection.sent += static_cast<std::size_t>(sent);
    }
    if (connection.wants_out) TRY(watch(connection.pipe.fd(), index, false, false));
    connection.wants_out = false;
    return {};
}

Status Runner::start_due() {
    while (!idle_.empty()) {
        const std::int64_t now = clock_.monotonic_us();
        std::size_t request = 0;
        std::int64_t since = now;
        if (!retries_.empty() && retries_.front().at_us <= now) {
            request = retries_.front().request;
            since = retries_.front().since_us;
            retries_.pop_front();
        } else if (next_ < load_.requests()) {
            if (gap_us_ > 0) since = start_us_ + static_cast<std::int64_t>(static_cast<double>(next_) * gap_us_);
            if (since > now) return {};
            request = next_++;
        } else {
            return {};
        }
        const std::size_t index = idle_.back();
        idle_.pop_back();
        Connection& connection = connections_[index];
        connection.request = request;
        connection.sent = 0;
        connection.since_us = since;
        connection.is_busy = true;
        TRY(push(index));
    }
    return {};
}

Status Runner::on_answer(Connection& connection, const PipeAnswer& answer) {
    const std::int64_t now = clock_.monotonic_us();
    if (answer.status == 503) {
        ++result_.refused;
        retries_.push_back({connection.request, connection.since_us, now + refused_wait_us});
        return {};
    }
    if (answer.status != 200) {
        return Error{Errc::invalid_argument,
                     "the server answered " + std::to_string(answer.status) + ": " + answer.body.substr(0, 300)};
    }
    result_.accepted += integer_behind(answer.body, "\"accepted\":");
    result_.duplicates += integer_behind(answer.body, "\"duplicates\":");
    result_.rejected += integer_behind(answer.body, "\"rejected\":");
    result_.ack_ms.push_back(static_cast<double>(now - connection.since_us) / 1000);
    result_.applied_index = later_index(result_.applied_index, text_behind(answer.body, "\"applied_index\":\""));
    ++done_;
    return sample(now);
}

Status Runner::take_answers(std::size_t index) {
    Connection& connection = connections_[index];
    TRY(connection.pipe.read_into(connection.answers));
    heard_us_ = clock_.monotonic_us();
    PipeAnswer answer;
    while (TRY(connection.answers.next(answer))) {
        if (!connection.is_busy) return Error{Errc::invalid_argument, "an answer without a request"};
        connection.is_busy = false;
        idle_.push_back(index);
        TRY(on_answer(connection, answer));
        if (answer.closes) return Error{Errc::io, "the server closed a connection"};
    }
    return {};
}

Status Runner::sample(std::int64_t acked_us) {
    if (!sampler_ || sampler_->is_busy || acked_us < sample_next_us_ || result_.applied_index.empty()) return {};
    const std::string body =
        "{\"query\":\"" + options_.lag_query + "\",\"min_index\":\"" + result_.applied_index + "\"}";
    sample_request_ = request_head(server_, "/v1/sql", "application/json", body.size()) + body;
    sampler_->sent = 0;
    sampler_->since_us = acked_us;
    sampler_->is_busy = true;
    sample_next_us_ = acked_us + options_.lag_every_ms * 1000;
    return push_sample();
}

Status Runner::push_sample() {
    // A request of some hundred bytes into an empty socket buffer goes in whole.
    const std::size_t sent = TRY(sampler_->pipe.write(sample_request_));
    if (sent != sample_request_.size()) return Error{Errc::io, "the sampling connection is stuck"};
    return {};
}

Status Runner::take_sample() {
    TRY(sampler_->pipe.read_into(sampler_->answers));
    PipeAnswer answer;
    while (TRY(sampler_->answers.next(answer))) {
        sampler_->is_busy = false;
        // A refused sample says nothing about the lag; the comparison at the end would notice a view that hangs.
        if (answer.status != 200) continue;
        result_.lag_ms.push_back(static_cast<double>(clock_.monotonic_us() - sampler_->since_us) / 1000);
    }
    return {};
}

int Runner::wait_ms() const {
    const std::int64_t now = clock_.monotonic_us();
    std::int64_t until = now + 1'000'000;
    if (!idle_.empty() && !retries_.empty()) until = std::min(until, retries_.front().at_us);
    if (!idle_.empty() && gap_us_ > 0 && next_ < load_.requests()) {
        until = std::min(until, start_us_ + static_cast<std::int64_t>(static_cast<double>(next_) * gap_us_));
    }
    // Rounded down: waking early costs a turn of the loop, waking late would spoil due times.
    return static_cast<int>(std::max<std::int64_t>(0, (until - now) / 1000));
}

Result<LoadRunResult> Runner::run() {
    TRY(open());
    result_.ack_ms.reserve(load_.requests());
    if (options_.events_per_s > 0) {
        const double events_per_request = static_cast<double>(load_.events) / static_cast<double>(load_.requests());
        gap_us_ = 1e6 * events_per_request / options_.events_per_s;
    }
    start_us_ = heard_us_ = clock_.monotonic_us();
    TRY(start_due());
    std::array<epoll_event, 128> events{};
    // Ends when every request and the sample under way are answered, on an error, or after a minute of silence.
    while (done_ < load_.requests() || (sampler_ && sampler_->is_busy)) {
        const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), wait_ms());
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            const std::uint64_t tag = event.data.u64;
            if (tag == tag_stop) return Error{Errc::cancelled, "interrupted"};
            if (tag == tag_sampler) {
                TRY(take_sample());
                continue;
            }
            if ((event.events & EPOLLOUT) != 0) TRY(push(tag));
            if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) TRY(take_answers(tag));
        }
        if (done_ == load_.requests()) {
            if (result_.seconds == 0) result_.seconds = static_cast<double>(clock_.monotonic_us() - start_us_) / 1e6;
            if (sampler_ && clock_.monotonic_us() - sampler_->since_us > last_sample_us_max) break;
            continue;
        }
        TRY(start_due());
        const bool is_waiting = idle_.size() < connections_.size();
        if (is_waiting && clock_.monotonic_us() - heard_us_ > silence_us_max) {
            return Error{Errc::io, "no answer for 60 s"};
        }
        if (!is_waiting) heard_us_ = clock_.monotonic_us();
    }
    return std::move(result_);
}

}  // namespace

Result<LoadRunResult> run_load(const ServerChoice& server, const Load& load, const LoadRunOptions& options,
                               Clock& clock) {
    return Runner(server, load, options, clock).run();
}

double percentile(const std::vector<double>& sorted, double share) {
    if (sorted.empty()) return 0;
    const auto at = static_cast<std::size_t>(share * static_cast<double>(sorted.size()));
    return sorted[std::min(at, sorted.size() - 1)];
}

std::string later_index(const std::string& a, const std::string& b) {
    const std::size_t colon_a = a.find(':');
    const std::size_t colon_b = b.find(':');
    if (colon_a == std::string::npos || colon_b == std::string::npos) return b.empty() ? a : b;
    if (a.compare(0, colon_a, b, 0, colon_b) != 0) return b;
    std::uint64_t index_a = 0;
    std::uint64_t index_b = 0;
    std::from_chars(a.data() + colon_a + 1, a.data() + a.size(), index_a);
    std::from_chars(b.data() + colon_b + 1, b.data() + b.size(), index_b);
    return index_a > index_b ? a : b;
}

}  // namespace weir::node
