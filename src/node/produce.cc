#include "node/produce.h"

#include "node/detail/json.h"
#include "node/pipe.h"

#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <poll.h>
#include <unistd.h>

namespace weir::node {
namespace {

constexpr std::int64_t linger_ms = 20;  // a live pipe's lines wait this long for company
constexpr std::int64_t connect_timeout_ms = 5'000;
// silence with requests on their way: the connection is taken for lost
constexpr std::int64_t answer_timeout_ms = 60'000;
constexpr std::int64_t backoff_first_ms = 100;
constexpr std::int64_t backoff_max_ms = 2'000;
constexpr std::int64_t retry_after_default_ms = 1'000;
constexpr std::int64_t retry_after_max_ms = 30'000;
constexpr std::int64_t progress_every_ms = 200;
constexpr std::int64_t stop_grace_ms = 5'000;  // for the answers that are still coming after Ctrl-C
constexpr std::int64_t rejections_shown_max = 10;

struct Request {
    std::uint64_t number = 0;  // order of the input
    std::string bytes;         // head and body
    std::int64_t body_bytes = 0;
    std::int64_t events = 0;
    std::int64_t first_line = 0;
};

class Producer {
  public:
    Producer(const Console& console, const ServerChoice& server, EventInput input, const ProduceOptions& options)
        : console_(console), server_(server), options_(options), input_(std::move(input)) {
        path_ = "/v1/streams/" + url_escape(options.stream) + "/events";
        // Over lines that somebody types it would only be in the way.
        shows_progress_ = console.err_is_terminal && isatty(input_.fd()) == 0;
    }

    Exit run();

  private:
    std::int64_t now_ms() { return console_.clock->monotonic_us() / 1000; }
    bool is_connected() const { return pipe_.has_value(); }
    bool has_unanswered() const { return !waiting_.empty() || !sent_.empty() || !refused_.empty(); }
    bool may_write();
    bool wants_input() const {
        return !stopping_ && !input_failed_ && !input_done_ && waiting_.size() < options_.in_flight;
    }

    void take_input(bool take_less);
    void read_input();
    Status connect_if_due();
    void write_ahead();
    void read_answers();
    void on_answer(PipeAnswer& answer);
    void count(const Request& request, const PipeAnswer& answer);
    void refuse(Request request, const PipeAnswer& answer, bool fate_unknown);
    void connection_lost(const std::string& why, bool rest_untouched);
    void give_up(Exit exit, std::string why, std::string next = {});
    void wait_for_something();
    void show_progress(bool last);
    std::string unsent_text() const;
    Exit finish();

    const Console& console_;
    const ServerChoice& server_;
    const ProduceOptions& options_;
    EventInput input_;
    std::string path_;

    // A request is in exactly one of these, each in the input's order.
    std::deque<Request> waiting_;  // not written; the front one perhaps in part (written_)
    std::deque<Request> sent_;     // written, answer to come
    std::deque<Request> refused_;  // answered "later"
    std::size_t written_ = 0;
    std::uint64_t next_number_ = 0;

    std::optional<Pipe> pipe_;
    AnswerParser answers_;
    bool was_connected_ = false;
    std::int64_t connect_at_ms_ = 0;
    std::int64_t backoff_ms_ = backoff_first_ms;
    std::int64_t resume_at_ms_ = 0;  // Retry-After
    std::int64_t progress_ms_ = 0;   // last answer that settled a request
    std::int64_t heard_ms_ = 0;      // last byte from the server

    bool input_done_ = false;
    bool input_failed_ = false;
    bool stopping_ = false;
    std::int64_t stop_at_ms_ = 0;
    std::optional<Exit> gave_up_;
    std::string why_;
    std::string next_step_;
    std::string input_error_;

    ProduceReport report_;
    std::int64_t rejections_shown_ = 0;
    std::int64_t start_ms_ = 0;
    std::int64_t shown_ms_ = 0;
    bool shows_progress_ = false;
    bool progress_on_screen_ = false;
};

void Producer::take_input(bool take_less) {
    while (waiting_.size() < options_.in_flight) {
        std::optional<LineBatch> batch = input_.take(options_.batch_lines, options_.batch_bytes, take_less);
        if (!batch) {
            input_done_ = input_.is_at_end();
            return;
        }
        if (batch->events == 0) continue;  // blank lines alone
        Request request{next_number_++, request_head(server_, path_, "application/x-ndjson", batch->body.size()),
                        static_cast<std::int64_t>(batch->body.size()), batch->events, batch->first_line};
        request.bytes += batch->body;
        waiting_.push_back(std::move(request));
    }
}

void Producer::read_input() {
    if (const Status read = input_.read_some(); !read) {
        input_failed_ = true;
        input_error_ = read.error().detail;
    }
    take_input(input_failed_);
}

Status Producer::connect_if_due() {
    if (is_connected() || waiting_.empty() || now_ms() < connect_at_ms_) return {};
    Result<Pipe> made = Pipe::connect(server_.address, connect_timeout_ms);
    if (!made) {
        connect_at_ms_ = now_ms() + backoff_ms_;
        backoff_ms_ = std::min(backoff_ms_ * 2, backoff_max_ms);
        return std::move(made).error();
    }
    pipe_.emplace(std::move(made).value());
    answers_.reset();
    written_ = 0;
    was_connected_ = true;
    heard_ms_ = now_ms();
    return {};
}

bool Producer::may_write() {
    if (!is_connected() || waiting_.empty()) return false;
    if (written_ > 0) return true;  // a request once begun is finished: what follows half of one cannot be understood
    return !stopping_ && refused_.empty() && sent_.size() < options_.in_flight && now_ms() >= resume_at_ms_;
}

void Producer::write_ahead() {
    while (may_write()) {
        const Request& front = waiting_.front();
        const Result<std::size_t> taken = pipe_->write(std::string_view(front.bytes).substr(written_));
        if (!taken) {
            // The server may have said why before it hung up: its answer is read first.
            read_answers();
            if (is_connected()) connection_lost(taken.error().detail, false);
            return;
        }
        if (taken.value() == 0) return;
        written_ += taken.value();
        if (written_ < front.bytes.size()) continue;
        if (sent_.empty()) heard_ms_ = now_ms();
        sent_.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
        written_ = 0;
    }
}

void Producer::read_answers() {
    for (;;) {
        const Result<bool> got = pipe_->read_into(answers_);
        if (got && got.value()) heard_ms_ = now_ms();
        for (;;) {
            PipeAnswer answer;
            const Result<bool> whole = answers_.next(answer);
            if (!whole) {
                give_up(Exit::failed, server_.address.text() + ": " + whole.error().detail);
                return;
            }
            if (!whole.value()) break;
            on_answer(answer);
            if (gave_up_ || !is_connected()) return;
        }
        if (!got) {
            connection_lost(got.error().detail, false);
            return;
        }
        if (!got.value()) return;
    }
}

void Producer::on_answer(PipeAnswer& answer) {
    if (sent_.empty()) {
        // An answer to a request that is not whole yet (413, 408): it is the front one's.
        if (written_ == 0) {
            connection_lost("the server spoke without being asked", false);
            return;
        }
        sent_.push_back(waiting_.front());
        waiting_.pop_front();
        written_ = 0;
        answer.closes = true;
    }
    Request request = std::move(sent_.front());
    sent_.pop_front();
    const bool closes = answer.closes;
    if (answer.status == 503 || answer.status == 429) {
        refuse(std::move(request), answer, false);
    } else if (answer.status == 504) {
        refuse(std::move(request), answer, true);
    } else {
        count(request, answer);
    }
    if (closes && !gave_up_) connection_lost("the server closes the connection", true);
}

void Producer::count(const Request& request, const PipeAnswer& answer) {
    const Result<Json> parsed = parse_json(answer.body);
    const Json body = parsed ? parsed.value() : Json();
    const bool has_counts =
        member(body, "accepted").is_number_integer() && member(body, "rejected").is_number_integer();
    if (!has_counts || (answer.status != 200 && answer.status != 400)) {
        const Answer said{answer.status, answer.body, answer.retry_after_s};
        const Problem problem =
            answer.status < 300 ? not_weir(server_.address, said) : problem_of(server_.address, said);
        report_.unsent += request.events;
        give_up(problem.exit, problem.detail);
        return;
    }
    const std::int64_t rejected = integer_of(member(body, "rejected"));
    report_.accepted += integer_of(member(body, "accepted"));
    report_.duplicates += integer_of(member(body, "duplicates"));
    report_.rejected += rejected;
    report_.lines += request.events;
    report_.bytes += request.body_bytes;
    report_.batches += 1;
    if (!refused_.empty()) report_.out_of_order += 1;
    if (const Json& index = member(body, "applied_index"); index.is_string()) {
        report_.applied_index = index.get<std::string>();
    }
    const Json& errors = member(body, "errors");
    std::int64_t listed = 0;
    if (errors.is_array()) {
        for (const Json& error : errors) {
            ++listed;
            const std::string reason = string_of(member(error, "code"));
            report_.rejected_by_reason[reason.empty() ? "unknown" : reason] += 1;
            if (rejections_shown_++ < rejections_shown_max) {
                if (progress_on_screen_) std::fputs("\r\033[K", console_.err);
                const std::int64_t line = request.first_line + integer_of(member(error, "index"));
                console_.say("line " + std::to_string(line) + ": " + printable(reason) + ": " +
                             printable(string_of(member(error, "message"))));
                if (rejections_shown_ == rejections_shown_max) {
                    console_.say("(further rejected lines are only counted)");
                }
            }
        }
    }
    report_.rejected_unlisted += std::max<std::int64_t>(0, rejected - listed);
    progress_ms_ = now_ms();
    backoff_ms_ = backoff_first_ms;
}

void Producer::refuse(Request request, const PipeAnswer& answer, bool fate_unknown) {
    std::int64_t wait_ms = answer.retry_after_s >= 0 ? answer.retry_after_s * 1000 : retry_after_default_ms;
    wait_ms = std::clamp<std::int64_t>(wait_ms, 0, retry_after_max_ms);
    resume_at_ms_ = std::max(resume_at_ms_, now_ms() + wait_ms);
    why_ = problem_of(server_.address, Answer{answer.status, answer.body, -1}).detail;
    report_.resent_batches += 1;
    if (fate_unknown) report_.maybe_twice += request.events;
    refused_.push_back(std::move(request));
}

// `rest_untouched`: the server has said that it looked at nothing behind its last answer.
void Producer::connection_lost(const std::string& why, bool rest_untouched) {
    pipe_.reset();
    why_ = why;
    report_.resent_batches += static_cast<std::int64_t>(sent_.size());
    if (!rest_untouched) {
        for (const Request& request : sent_)
            report_.maybe_twice += request.events;
    }
    for (std::deque<Request>* part : {&sent_, &refused_}) {
        for (Request& request : *part)
            waiting_.push_back(std::move(request));
        part->clear();
    }
    std::ranges::sort(waiting_, {}, &Request::number);
    written_ = 0;
    connect_at_ms_ = now_ms() + (rest_untouched ? 0 : backoff_ms_);
    if (!rest_untouched) backoff_ms_ = std::min(backoff_ms_ * 2, backoff_max_ms);
}

void Producer::give_up(Exit exit, std::string why, std::string next) {
    gave_up_ = exit;
    why_ = std::move(why);
    next_step_ = std::move(next);
}

void Producer::wait_for_something() {
    std::array<pollfd, 3> fds{};
    const std::int64_t now = now_ms();
    std::int64_t until = now + 1000;
    const bool reads = wants_input();
    fds[0] = {reads && !input_.has_buffered() ? input_.fd() : -1, POLLIN, 0};
    fds[1] = {is_connected() ? pipe_->fd() : -1, POLLIN, 0};
    if (may_write()) fds[1].events |= POLLOUT;
    fds[2] = {stopping_ ? -1 : options_.stop_fd, POLLIN, 0};
    if (reads) until = std::min(until, now + (input_.has_buffered() ? 0 : linger_ms));
    if (!waiting_.empty() && !is_connected()) until = std::min(until, connect_at_ms_);
    if (is_connected() && sent_.empty() && !waiting_.empty() && resume_at_ms_ > now) {
        until = std::min(until, resume_at_ms_);
    }
    if (shows_progress_) until = std::min(until, now + progress_every_ms);
    ::poll(fds.data(), fds.size(), static_cast<int>(std::max<std::int64_t>(0, until - now)));

    if (fds[2].revents != 0) {
        stopping_ = true;
        stop_at_ms_ = now_ms() + stop_grace_ms;
    }
    if (is_connected() && (fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) read_answers();
    if (gave_up_) return;
    if (reads && (input_.has_buffered() || fds[0].revents != 0)) {
        read_input();
    } else if (reads) {
        take_input(true);  // the pipe is quiet: what is there goes now
    }
}

void Producer::show_progress(bool last) {
    if (!shows_progress_) return;
    const std::int64_t now = now_ms();
    if (!last && now - shown_ms_ < progress_every_ms) return;
    shown_ms_ = now;
    if (last) {
        if (progress_on_screen_) std::fputs("\r\033[K", console_.err);
        progress_on_screen_ = false;
        return;
    }
    progress_on_screen_ = true;
    std::string line = "\r";
    if (input_.bytes_total() > 0) {
        const auto percent = std::min<std::int64_t>(100, input_.bytes_read() * 100 / input_.bytes_total());
        constexpr std::int64_t cells = 24;
        const auto filled = static_cast<std::size_t>(percent * cells / 100);
        line +=
            "[" + std::string(filled, '#') + std::string(cells - filled, '-') + "] " + std::to_string(percent) + " %  ";
    }
    const double seconds = std::max(0.001, static_cast<double>(now - start_ms_) / 1000);
    line += people_count(report_.lines) + " events  " + people_bytes(static_cast<double>(report_.bytes)) + "  " +
            people_count(static_cast<std::int64_t>(static_cast<double>(report_.lines) / seconds)) + " ev/s  " +
            people_count(report_.duplicates) + " duplicates  " + people_count(report_.rejected) + " rejected";
    if (!is_connected() && was_connected_) line += "  reconnecting";
    if (!refused_.empty()) line += "  waiting: " + printable(why_);
    line += "\033[K";
    std::fputs(line.c_str(), console_.err);
    std::fflush(console_.err);
}

Exit Producer::run() {
    start_ms_ = progress_ms_ = now_ms();
    while (!gave_up_) {
        if (input_.has_buffered() && wants_input()) read_input();
        // Everything on its way is answered: what was refused goes first again.
        if (sent_.empty() && !refused_.empty() && written_ == 0) {
            waiting_.insert(waiting_.begin(), std::make_move_iterator(refused_.begin()),
                            std::make_move_iterator(refused_.end()));
            refused_.clear();
        }
        if ((input_done_ || input_failed_) && !has_unanswered()) break;
        if (stopping_ && ((sent_.empty() && written_ == 0) || now_ms() > stop_at_ms_)) break;
        if (!has_unanswered()) progress_ms_ = now_ms();  // nothing to be slow with
        if (now_ms() - progress_ms_ > options_.retry_for_ms && !(sent_.size() > 0 && is_connected())) {
            give_up(is_connected() ? Exit::failed : Exit::unreachable,
                    "no progress for " + people_duration_ms(static_cast<double>(options_.retry_for_ms)) + ": " + why_);
            break;
        }
        if (const Status connected = connect_if_due(); !connected) {
            why_ = connected.error().detail;
            if (!was_connected_) {
                const Problem problem = cannot_reach(server_.address, why_);
                give_up(problem.exit, problem.detail, "weir serve");
                break;
            }
        }
        if (is_connected()) write_ahead();
        if (gave_up_) break;
        wait_for_something();
        if (!gave_up_ && is_connected() && !sent_.empty() && now_ms() - heard_ms_ > answer_timeout_ms) {
            connection_lost("no answer for " + people_duration_ms(answer_timeout_ms), false);
        }
        show_progress(false);
    }
    show_progress(true);
    return finish();
}

// What the input still holds was never counted.
std::string Producer::unsent_text() const {
    return (input_done_ ? "" : "at least ") + people_count_of(report_.unsent, "event");
}

Exit Producer::finish() {
    for (const std::deque<Request>* part : {&waiting_, &sent_, &refused_}) {
        for (const Request& request : *part)
            report_.unsent += request.events;
    }
    if (input_.too_long() > 0) {
        report_.rejected += input_.too_long();
        report_.lines += input_.too_long();
        report_.rejected_by_reason["too_large"] += input_.too_long();
        console_.say("line " + std::to_string(input_.first_too_long()) +
                     ": too_large: longer than a request may be; not sent");
    }
    const double seconds = std::max(0.001, static_cast<double>(now_ms() - start_ms_) / 1000);
    if (report_.lines > 0 || !(gave_up_ || input_failed_)) {
        console_.say(people_count(report_.accepted) + " accepted, " + people_count_of(report_.duplicates, "duplicate") +
                     ", " + people_count(report_.rejected) + " rejected: " + people_count_of(report_.lines, "event") +
                     ", " + people_bytes(static_cast<double>(report_.bytes)) + " in " +
                     people_duration_ms(seconds * 1000) + " (" +
                     people_count(static_cast<std::int64_t>(static_cast<double>(report_.lines) / seconds)) + " ev/s)");
    }
    for (const auto& [reason, count] : report_.rejected_by_reason) {
        console_.say("  " + people_count(count) + " " + printable(reason));
    }
    if (report_.rejected_unlisted > 0) {
        console_.say("  " + people_count(report_.rejected_unlisted) +
                     " more, reasons not listed here; ask: weir sql 'SELECT reason, count(*) FROM \"" +
                     options_.stream + "_dead_letters\" GROUP BY 1'");
    }
    if (report_.maybe_twice > 0) {
        console_.say("note: " + people_count_of(report_.maybe_twice, "event") +
                     (report_.maybe_twice == 1 ? " was" : " were") +
                     " sent again with their fate unknown; "
                     "they may be stored twice where the stream has no DEDUP");
    }
    if (report_.out_of_order > 0) {
        console_.say("note: " + people_count_of(report_.out_of_order, "request") +
                     (report_.out_of_order == 1 ? " was" : " were") + " stored before one that was sent earlier");
    }
    Exit exit = Exit::ok;
    const bool has_some = report_.accepted + report_.duplicates > 0;
    if (gave_up_ || input_failed_) {
        if (input_failed_) console_.error(input_error_);
        if (gave_up_) console_.error(why_, next_step_);
        if (report_.unsent > 0)
            console_.say("  " + unsent_text() + (report_.unsent == 1 ? " has" : " have") + " no answer");
        // An input that is broken is a failure also when some of it arrived: what is missing is nowhere else to be
        // seen.
        exit = input_failed_ ? Exit::failed : has_some ? Exit::partial : gave_up_.value_or(Exit::failed);
    } else if (stopping_) {
        console_.say("interrupted; " + unsent_text() + (report_.unsent == 1 ? " was" : " were") +
                     " not stored for sure");
        exit = Exit::interrupted;
    } else if (report_.rejected > 0) {
        exit = has_some ? Exit::partial : Exit::failed;
    }
    if (options_.json) console_.write(report_document(report_) + "\n");
    console_.flush();
    return exit;
}

}  // namespace

std::string report_document(const ProduceReport& report) {
    Json out = Json::object();
    out["accepted"] = report.accepted;
    out["duplicates"] = report.duplicates;
    out["rejected"] = report.rejected;
    out["lines"] = report.lines;
    out["bytes"] = report.bytes;
    out["batches"] = report.batches;
    out["applied_index"] = report.applied_index;
    Json reasons = Json::object();
    for (const auto& [reason, count] : report.rejected_by_reason)
        reasons[reason] = count;
    out["rejected_by_reason"] = std::move(reasons);
    out["rejected_unlisted"] = report.rejected_unlisted;
    out["unsent"] = report.unsent;
    out["resent_batches"] = report.resent_batches;
    out["maybe_twice"] = report.maybe_twice;
    out["out_of_order"] = report.out_of_order;
    return to_text(out);
}

Exit run_produce(const Console& console, const ServerChoice& server, EventInput input, const ProduceOptions& options) {
    return Producer(console, server, std::move(input), options).run();
}

}  // namespace weir::node
