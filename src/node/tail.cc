#include "node/tail.h"

#include "node/detail/json.h"
#include "node/event_stream.h"
#include "node/raw_json.h"
#include "node/rows.h"
#include "record/time.h"

#include <algorithm>
#include <array>
#include <optional>
#include <poll.h>

namespace weir::node {
namespace {

constexpr std::int64_t count_default = 10;
constexpr std::int64_t page_events = 1000;
constexpr std::int64_t answer_timeout_ms = 15'000;  // Ctrl-C is looked at between requests
constexpr std::int64_t lost_wait_ms = 1000;         // a server that restarts is waited for while following
constexpr std::int64_t beat_wait_ms = 15'000;       // the server says something at least so often
constexpr std::int64_t silent_ms_max = 60'000;      // then it is looked for again

std::string text_of(std::string_view raw) {
    if (!raw.starts_with('"')) return std::string(raw);
    const Result<Json> parsed = parse_json(raw);
    return parsed ? string_of(parsed.value()) : std::string();
}

std::string shown(const TailEvent& event, TailFormat format) {
    switch (format) {
        case TailFormat::raw:
            return event.value + "\n";
        case TailFormat::pretty: {
            return event.append_time + "  p" + std::to_string(event.partition) + ":" + std::to_string(event.offset) +
                   "  " + printable(event.value) + "\n";
        }
        case TailFormat::json: {
            std::string line =
                "{\"cursor\":" + to_text(Json(event.cursor)) + ",\"partition\":" + std::to_string(event.partition) +
                ",\"offset\":" + std::to_string(event.offset) + ",\"append_time\":" + to_text(Json(event.append_time));
            return line + ",\"value\":" + event.value + "}\n";
        }
    }
    return {};
}

// True: the user wants to stop, or whoever read our output has gone (`weir tail s --follow | head -1`).
bool wait_or_stop(const Console& console, int stop_fd, std::int64_t ms) {
    std::array<pollfd, 2> fds{{{stop_fd, POLLIN, 0}, {fileno(console.out), 0, 0}}};
    return ::poll(fds.data(), fds.size(), static_cast<int>(ms)) > 0;
}

bool is_cursor(std::string_view text) {
    const auto is_number = [](std::string_view part) {
        constexpr std::size_t digits_max = 20;
        return !part.empty() && part.size() <= digits_max &&
               part.find_first_not_of("0123456789") == std::string_view::npos;
    };
    const std::size_t first = text.find(':');
    const std::size_t second = first == std::string_view::npos ? first : text.find(':', first + 1);
    return second != std::string_view::npos && is_number(text.substr(0, first)) &&
           is_number(text.substr(first + 1, second - first - 1)) && is_number(text.substr(second + 1));
}

std::optional<std::int64_t> age_ms(std::string_view text) {
    if (text.starts_with('-')) text.remove_prefix(1);
    return record::parse_duration_ms(text);
}

bool is_view(Client& client, const std::string& name) {
    const Client::Outcome outcome = client.post("/v1/sql", "text/plain", "SHOW VIEWS");
    if (!outcome.ok()) return false;
    const Result<RowSet> views = parse_sql_answer(outcome.answer.body);
    if (!views) return false;
    const auto column = std::ranges::find(views.value().names, "name");
    const auto at = static_cast<std::size_t>(column - views.value().names.begin());
    return std::ranges::any_of(views.value().rows,
                               [&](const auto& row) { return at < row.size() && row[at].text == name; });
}

}  // namespace

bool is_from(std::string_view text) {
    return text == "beginning" || text == "end" || is_cursor(text) || record::parse_time_literal(text) || age_ms(text);
}

Result<TailFormat> parse_tail_format(std::string_view text) {
    if (text == "raw") return TailFormat::raw;
    if (text == "json") return TailFormat::json;
    if (text == "pretty") return TailFormat::pretty;
    return Error{Errc::invalid_argument, "-o takes raw, json or pretty, not \"" + printable(text) + "\""};
}

Result<TailEvent> parse_tail_event(std::string_view text) {
    const auto members = raw_members(text);
    if (!members) return Error{Errc::corrupt, "the server's answer holds what is no event"};
    const auto number = [&](const char* key) {
        const Result<Json> value = parse_json(raw_member(members.value(), key));
        return value ? integer_of(value.value(), -1) : -1;
    };
    return TailEvent{text_of(raw_member(members.value(), "cursor")), number("partition"), number("offset"),
                     text_of(raw_member(members.value(), "append_time")),
                     text_of(raw_member(members.value(), "value"))};
}

Result<TailPage> parse_tail_page(std::string_view body) {
    const Error wrong{Errc::corrupt, "the server's answer is not a page of events"};
    const auto page = raw_members(body);
    if (!page) return wrong;
    const auto items = raw_items(raw_member(page.value(), "events"));
    if (!items) return wrong;
    TailPage out;
    out.next = text_of(raw_member(page.value(), "next"));
    out.at_end = raw_member(page.value(), "at_end") == "true";
    if (const Result<Json> skipped = parse_json(raw_member(page.value(), "skipped")); skipped) {
        out.is_skipped = skipped.value().is_object();
        out.skipped = integer_of(member(skipped.value(), "events"), -1);
    }
    for (const std::string_view item : items.value()) {
        auto event = parse_tail_event(item);
        if (!event) return wrong;
        out.events.push_back(std::move(event).value());
    }
    return out;
}

std::string resolve_from(std::string_view from, std::int64_t now_ms) {
    if (const std::optional<std::int64_t> ms = age_ms(from)) {
        return record::format_rfc3339(now_ms - std::min(*ms, now_ms));
    }
    return std::string(from);
}

namespace {

// What pages and streams have in common while a tail runs.
class TailRun {
  public:
    TailRun(const Console& console, Client& client, const TailOptions& options)
        : console_(console),
          client_(client),
          options_(options),
          path_("/v1/streams/" + url_escape(options.stream)),
          from_(resolve_from(options.from, console.clock->wall_ms())),
          only_last_(options.from.empty()),
          left_(options.count < 0 && only_last_ && options.where.empty() ? count_default : options.count),
          is_bounded_(left_ >= 0 && !(only_last_ && options.follow)) {}

    Exit run() {
        client_.set_read_timeout_ms(answer_timeout_ms);
        if (options_.follow) {
            // The last events first, where that was asked; then all that comes, from there.
            const bool looks_back = only_last_ && left_ > 0 && options_.where.empty();
            if (looks_back)
                if (const std::optional<Exit> ended = pages(true)) return *ended;
            if (only_last_ && !looks_back) from_ = "end";
            return follow();
        }
        return pages(false).value_or(Exit::ok);
    }

  private:
    // Page by page to the end (or one, with the last events). nullopt: it went well, and there may be more.
    std::optional<Exit> pages(bool once) {
        bool asks_last = only_last_ && left_ > 0;
        if (is_bounded_ && left_ == 0) return std::nullopt;
        for (;;) {
            const std::int64_t page = asks_last ? tail_last_max : page_events;
            const std::int64_t limit = is_bounded_ || asks_last ? std::min(left_, page) : page;
            std::string query = "limit=" + std::to_string(std::max<std::int64_t>(limit, 1));
            query += asks_last ? "&last=" + std::to_string(limit) : "&from=" + url_escape(from_);
            if (!options_.where.empty()) query += "&where=" + url_escape(options_.where);
            const Client::Outcome outcome = client_.get(path_ + "/events?" + query);
            if (!outcome.ok()) return refused(outcome.problem);
            const Result<TailPage> answered = parse_tail_page(outcome.answer.body);
            if (!answered) {
                console_.error(answered.error().detail);
                return Exit::failed;
            }
            if (answered.value().is_skipped) say_skipped(answered.value().skipped);
            for (const TailEvent& event : answered.value().events) {
                if (!console_.write(shown(event, options_.format))) return Exit::ok;
            }
            if (!console_.flush()) return Exit::ok;
            const auto got = static_cast<std::int64_t>(answered.value().events.size());
            if (is_bounded_) left_ -= std::min(left_, got);
            const bool at_end = answered.value().next == from_ || (got == 0 && options_.where.empty());
            if (!answered.value().next.empty()) from_ = answered.value().next;
            asks_last = false;
            if (once || at_end || (is_bounded_ && left_ == 0)) return std::nullopt;
            if (!options_.where.empty() && answered.value().at_end) return std::nullopt;
            if (wait_or_stop(console_, options_.stop_fd, 0)) return Exit::ok;
        }
    }

    Exit follow() {
        std::string last_id;
        for (bool was_there = false; !(is_bounded_ && left_ == 0);) {
            std::string path = path_ + "/tail?from=" + url_escape(from_);
            if (!options_.where.empty()) path += "&where=" + url_escape(options_.where);
            std::optional<Problem> problem;
            auto stream =
                EventStream::open(client_.choice(), path, last_id, options_.stop_fd, answer_timeout_ms, problem);
            if (!stream && stream.error().code == Errc::cancelled) return Exit::ok;
            if (!stream) problem = cannot_reach(client_.choice().address, stream.error().detail);
            if (problem) {
                const bool may_return = problem->status == 0 || problem->status == 503;
                if (!was_there || !may_return) return refused(*problem);
            } else {
                was_there = true;
                if (const std::optional<Exit> ended = read(stream.value())) return *ended;
                last_id = stream.value().last_id();
            }
            if (wait_or_stop(console_, options_.stop_fd, lost_wait_ms)) return Exit::ok;
        }
        return Exit::ok;
    }

    // nullopt: the connection was lost, or the server leaves; the place is in the stream's last_id().
    std::optional<Exit> read(EventStream& stream) {
        const int out = fileno(console_.out);
        std::int64_t silent_ms = 0;
        ServerEvent event;
        for (;;) {
            // What waits is written before the next wait.
            const auto next = stream.next(event, options_.stop_fd, out, 0);
            if (stream.heard()) silent_ms = 0;
            const auto waited = next && next.value() == EventStream::Next::quiet
                                    ? (console_.flush() ? stream.next(event, options_.stop_fd, out, beat_wait_ms)
                                                        : Result<EventStream::Next>(EventStream::Next::stopped))
                                    : next;
            if (!waited) {
                console_.error(waited.error().detail);
                return Exit::failed;
            }
            if (stream.heard()) silent_ms = 0;
            switch (waited.value()) {
                case EventStream::Next::stopped:
                    return Exit::ok;
                case EventStream::Next::ended:
                    return console_.flush() ? std::nullopt : std::optional(Exit::ok);
                case EventStream::Next::quiet:
                    // The server beats four times as often: it, or the way to it, has gone without a word.
                    silent_ms += beat_wait_ms;
                    if (silent_ms >= silent_ms_max) return std::nullopt;
                    continue;
                case EventStream::Next::event:
                    break;
            }
            if (event.event.empty()) {
                const Result<TailEvent> parsed = parse_tail_event(event.data);
                if (!parsed) {
                    console_.error(parsed.error().detail);
                    return Exit::failed;
                }
                if (!console_.write(shown(parsed.value(), options_.format))) return Exit::ok;
                if (is_bounded_ && --left_ == 0) {
                    console_.flush();
                    return Exit::ok;
                }
            } else if (event.event == "skipped") {
                const Result<Json> notice = parse_json(event.data);
                say_skipped(notice ? integer_of(member(notice.value(), "events"), -1) : -1);
            } else if (event.event == "end") {
                const Result<Json> end = parse_json(event.data);
                const std::string code = end ? string_of(member(end.value(), "code")) : "";
                if (code == "shutting_down") continue;  // its connection ends, and it may come back
                console_.flush();
                console_.error(end ? printable(string_of(member(end.value(), "detail"))) : "the server ended the tail");
                return code == "not_found" ? Exit::not_found : Exit::failed;
            }
        }
    }

    void say_skipped(std::int64_t events) const {
        console_.flush();
        console_.say("weir: " + (events < 0 ? std::string("events") : people_count_of(events, "event")) +
                     " behind this place were removed by retention before they could be read");
    }

    Exit refused(const Problem& problem) {
        if (problem.exit == Exit::not_found && is_view(client_, options_.stream)) {
            console_.error(options_.stream + " is a view, not a stream: it has rows, which change, and no events",
                           "weir sql 'SELECT * FROM " + sql_name(options_.stream) + "'");
            return problem.exit;
        }
        console_.error(printable(problem.detail), problem.exit == Exit::unreachable ? "weir serve" : "");
        return problem.exit;
    }

    const Console& console_;
    Client& client_;
    const TailOptions& options_;
    const std::string path_;
    std::string from_;
    const bool only_last_;
    std::int64_t left_;  // events; less than 0: no bound
    const bool is_bounded_;
};

}  // namespace

Exit run_tail(const Console& console, Client& client, const TailOptions& options) {
    return TailRun(console, client, options).run();
}

}  // namespace weir::node
