#include "node/tail.h"

#include "node/detail/json.h"
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
constexpr std::int64_t poll_first_ms = 50;          // while events come
constexpr std::int64_t poll_max_ms = 500;           // while none do
constexpr std::int64_t answer_timeout_ms = 15'000;  // Ctrl-C is looked at between requests
constexpr std::int64_t lost_wait_ms = 1000;         // a server that restarts is waited for while following

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

Result<TailPage> parse_tail_page(std::string_view body) {
    const Error wrong{Errc::corrupt, "the server's answer is not a page of events"};
    const auto page = raw_members(body);
    if (!page) return wrong;
    const auto items = raw_items(raw_member(page.value(), "events"));
    if (!items) return wrong;
    TailPage out;
    out.next = text_of(raw_member(page.value(), "next"));
    for (const std::string_view item : items.value()) {
        const auto members = raw_members(item);
        if (!members) return wrong;
        const auto number = [&](const char* key) {
            const Result<Json> value = parse_json(raw_member(members.value(), key));
            return value ? integer_of(value.value(), -1) : -1;
        };
        out.events.push_back({text_of(raw_member(members.value(), "cursor")), number("partition"), number("offset"),
                              text_of(raw_member(members.value(), "append_time")),
                              text_of(raw_member(members.value(), "value"))});
    }
    return out;
}

std::string resolve_from(std::string_view from, std::int64_t now_ms) {
    if (const std::optional<std::int64_t> ms = age_ms(from)) {
        return record::format_rfc3339(now_ms - std::min(*ms, now_ms));
    }
    return std::string(from);
}

Exit run_tail(const Console& console, Client& client, const TailOptions& options) {
    const std::string path = "/v1/streams/" + url_escape(options.stream) + "/events?";
    std::string from = resolve_from(options.from, console.clock->wall_ms());
    const bool only_last = options.from.empty();
    std::int64_t left = options.count;
    if (left < 0 && only_last) left = count_default;
    const bool is_bounded = left >= 0 && !(only_last && options.follow);
    bool asks_last = only_last && left > 0;
    if (only_last && !asks_last) from = "end";  // --follow -n 0: only what comes
    client.set_read_timeout_ms(answer_timeout_ms);
    std::int64_t wait_ms = poll_first_ms;
    bool was_there = false;
    for (;;) {
        if (is_bounded && left == 0) break;
        const std::int64_t page = asks_last ? tail_last_max : page_events;
        const std::int64_t limit = is_bounded || asks_last ? std::min(left, page) : page;
        std::string query = "limit=" + std::to_string(std::max<std::int64_t>(limit, 1));
        query += asks_last ? "&last=" + std::to_string(limit) : "&from=" + url_escape(from);
        const Client::Outcome outcome = client.get(path + query);
        if (!outcome.ok()) {
            const bool may_return = !outcome.answered || outcome.answer.status == 503;
            if (options.follow && was_there && may_return) {
                if (wait_or_stop(console, options.stop_fd, lost_wait_ms)) break;
                continue;
            }
            if (outcome.problem.exit == Exit::not_found && is_view(client, options.stream)) {
                console.error(options.stream + " is a view, not a stream: it has rows, which change, and no events",
                              "weir sql 'SELECT * FROM " + sql_name(options.stream) + "'");
                return outcome.problem.exit;
            }
            console.error(printable(outcome.problem.detail),
                          outcome.problem.exit == Exit::unreachable ? "weir serve" : "");
            return outcome.problem.exit;
        }
        const Result<TailPage> answered = parse_tail_page(outcome.answer.body);
        if (!answered) {
            console.error(answered.error().detail);
            return Exit::failed;
        }
        was_there = true;
        for (const TailEvent& event : answered.value().events) {
            if (!console.write(shown(event, options.format))) return Exit::ok;
        }
        if (!console.flush()) return Exit::ok;
        const auto got = static_cast<std::int64_t>(answered.value().events.size());
        if (is_bounded) left -= std::min(left, got);
        const bool is_done = !options.follow && (got == 0 || answered.value().next == from);
        if (is_done) break;
        if (!answered.value().next.empty()) from = answered.value().next;
        asks_last = false;
        // While events come in full pages there is nothing to wait for.
        wait_ms = got > 0 ? poll_first_ms : std::min(wait_ms * 2, poll_max_ms);
        if (wait_or_stop(console, options.stop_fd, options.follow && got < limit ? wait_ms : 0)) break;
    }
    return Exit::ok;
}

}  // namespace weir::node
