#include "http/detail/problem.h"

#include "base/check.h"
#include "http/detail/json_text.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdio>

namespace weir::http {
namespace {

struct Mapping {
    int status;
    int retry_s;  // -1: not worth repeating
};

Mapping map(Errc code) {
    switch (code) {
        case Errc::invalid_argument:
            return {400, -1};
        case Errc::not_found:
            return {404, -1};
        case Errc::already_exists:
            return {409, -1};
        case Errc::conflict:
            return {409, -1};
        case Errc::too_large:
            return {413, -1};
        case Errc::overloaded:
            return {503, 1};
        case Errc::disk_full:
            return {503, 10};
        case Errc::not_leader:
            return {503, 1};
        case Errc::recovering:
            return {503, 1};
        case Errc::building:
            return {503, 2};
        case Errc::timed_out:
            return {504, -1};
        case Errc::deadline:
            return {408, -1};
        case Errc::unauthorised:
            return {401, -1};
        case Errc::forbidden:
            return {403, -1};
        case Errc::unsupported:
            return {400, -1};
        case Errc::corrupt:
            return {500, -1};
        case Errc::io:
            return {500, -1};
        case Errc::cancelled:
            return {503, 1};
        case Errc::shutting_down:
            return {503, 2};
    }
    CHECK(false);
    return {500, -1};
}

}  // namespace

int retry_after_s(int base_s) {
    // A counter spreads as well as chance does, and needs no seed.
    static std::atomic<unsigned> turn{0};
    return base_s + static_cast<int>(turn.fetch_add(1, std::memory_order_relaxed) % 3);
}

Problem problem_of(const Error& error) {
    const Mapping m = map(error.code);
    Problem p;
    p.status = m.status;
    p.code = errc_name(error.code);
    p.detail = error.detail;
    p.position = error.position;
    if (m.retry_s >= 0) {
        p.retry_after_s = retry_after_s(m.retry_s);
        p.retryable = true;
    }
    return p;
}

Problem sql_problem_of(const Error& error, std::string_view statement) {
    Problem p = problem_of(error);
    // What a statement may not do is the statement's error; 403 is for callers who may not.
    if (error.code == Errc::invalid_argument || error.code == Errc::forbidden) {
        p.status = 400;
        p.code = "sql_error";
    }
    if (p.position >= 0) {
        const auto at = std::min(static_cast<std::size_t>(p.position), statement.size());
        const std::string_view before = statement.substr(0, at);
        const std::size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
        p.line = 1 + std::count(before.begin(), before.end(), '\n');
        p.column = static_cast<std::int64_t>(at - line_start) + 1;
    }
    return p;
}

std::string_view status_phrase(int status) {
    switch (status) {
        case 100:
            return "Continue";
        case 200:
            return "OK";
        case 204:
            return "No Content";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 408:
            return "Request Timeout";
        case 409:
            return "Conflict";
        case 413:
            return "Content Too Large";
        case 414:
            return "URI Too Long";
        case 415:
            return "Unsupported Media Type";
        case 417:
            return "Expectation Failed";
        case 421:
            return "Misdirected Request";
        case 422:
            return "Unprocessable Content";
        case 426:
            return "Upgrade Required";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 500:
            return "Internal Server Error";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        default:
            return "Status";
    }
}

Answer answer_of(const Problem& problem) {
    Answer a;
    a.status = problem.status;
    a.content_type = "application/problem+json";
    std::string& out = a.body;
    out += "{\"type\":\"about:blank\"";
    append_member(out, "title", status_phrase(problem.status));
    append_member(out, "status", problem.status);
    append_member(out, "code", problem.code);
    append_member(out, "detail", problem.detail);
    append_flag(out, "retryable", problem.retryable);
    if (problem.position >= 0) append_member(out, "position", problem.position);
    if (problem.line >= 0) {
        append_member(out, "line", problem.line);
        append_member(out, "column", problem.column);
    }
    out += "}\n";
    if (problem.retry_after_s >= 0) a.headers += "Retry-After: " + std::to_string(problem.retry_after_s) + "\r\n";
    if (!problem.authenticate.empty()) a.headers += "WWW-Authenticate: " + problem.authenticate + "\r\n";
    a.headers += problem.headers;
    if (!problem.allow.empty()) a.headers += "Allow: " + problem.allow + "\r\n";
    return a;
}

void append_head(std::string& out, const Head& head) {
    out += "HTTP/1.1 ";
    append_integer(out, head.status);
    out += ' ';
    out += status_phrase(head.status);
    if (!head.date.empty()) {
        out += "\r\nDate: ";
        out += head.date;
    }
    if (!head.content_type.empty()) {
        out += "\r\nContent-Type: ";
        out += head.content_type;
    }
    if (head.length >= 0) {
        out += "\r\nContent-Length: ";
        append_integer(out, head.length);
    } else if (head.length == -1) {
        out += "\r\nTransfer-Encoding: chunked";
    }
    if (!head.keep_alive)
        out += "\r\nConnection: close";
    else if (head.http10)
        out += "\r\nConnection: keep-alive";
    out += "\r\n";
    out += head.headers;
    out += "\r\n";
}

std::string http_date(std::int64_t wall_ms) {
    constexpr std::array<const char*, 7> days{"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};  // 1970-01-01 is first
    constexpr std::array<const char*, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const std::int64_t seconds = std::max<std::int64_t>(wall_ms, 0) / 1000;
    const std::int64_t day = seconds / 86'400;
    // Days to civil date with years that begin in March (Hinnant, "chrono-compatible low-level date algorithms").
    const std::int64_t z = day + 719'468;
    const std::int64_t era = z / 146'097;
    const std::int64_t day_of_era = z - era * 146'097;
    const std::int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
    const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const std::int64_t mp = (5 * day_of_year + 2) / 153;
    const std::int64_t month = mp < 10 ? mp + 3 : mp - 9;
    const std::int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
    std::array<char, 64> text;
    const int n = std::snprintf(
        text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[static_cast<std::size_t>(day % 7)],
        static_cast<int>(day_of_year - (153 * mp + 2) / 5 + 1), months[static_cast<std::size_t>(month - 1)],
        static_cast<int>(year), static_cast<int>(seconds / 3600 % 24), static_cast<int>(seconds / 60 % 60),
        static_cast<int>(seconds % 60));
    return std::string(text.data(), static_cast<std::size_t>(n));
}

}  // namespace weir::http
