#include "node/client.h"

#include "node/detail/json.h"
#include "node/settings.h"

#include <httplib.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace weir::node {
namespace {

constexpr time_t connect_timeout_s = 5;
constexpr std::int64_t read_timeout_ms_default = 60'000;

std::string why_of(httplib::Error error) {
    switch (error) {
        case httplib::Error::Connection:
            return "no such host, connection refused, or no route";
        case httplib::Error::ConnectionTimeout:
            return "no answer to the connection";
        case httplib::Error::Read:
            return "the connection was lost, or the answer took too long";
        case httplib::Error::Write:
            return "the connection was lost while sending";
        default:
            return "HTTP failed (" + httplib::to_string(error) + ")";
    }
}

bool looks_like_json(std::string_view body) {
    const std::size_t first = body.find_first_not_of(" \t\r\n");
    return first != std::string_view::npos && (body[first] == '{' || body[first] == '[');
}

}  // namespace

std::string ServerAddress::text() const {
    const bool is_v6 = host.find(':') != std::string::npos;
    return "http://" + (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port) + prefix;
}

Result<ServerAddress> parse_server(std::string_view url) {
    if (url.starts_with("https://")) {
        return Error{Errc::invalid_argument,
                     "https:// is not spoken by this version: use http:// over a trusted network"};
    }
    std::string_view rest = url;
    if (rest.starts_with("http://")) rest.remove_prefix(7);
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    std::string_view authority = rest.substr(0, slash);
    std::string_view prefix = rest.substr(slash);
    while (prefix.ends_with('/'))
        prefix.remove_suffix(1);
    const bool unsafe =
        std::ranges::any_of(prefix, [](char c) { return c <= ' ' || c == '?' || c == '#' || c == 0x7f; });
    std::string with_port(authority);
    const bool has_port = authority.starts_with('[') ? authority.find("]:") != std::string_view::npos
                                                     : authority.find(':') != std::string_view::npos;
    if (!has_port) with_port += ":80";
    const Result<HostPort> parsed = parse_host_port(with_port);
    if (!parsed || parsed.value().port == 0 || unsafe) {
        return Error{Errc::invalid_argument,
                     "expected a server such as http://127.0.0.1:8080, not \"" + std::string(url) + "\""};
    }
    return ServerAddress{parsed.value().host, parsed.value().port, std::string(prefix)};
}

Exit exit_of_http(int status, std::string_view code) {
    if (code == "disk_full" || code == "io_error" || code == "corrupt") return Exit::disk;
    if (code == "not_leader" || code == "no_quorum") return Exit::conflict;
    if (code == "recovering" || code == "building") return Exit::conflict;
    switch (status) {
        case 401:
        case 403:
            return Exit::unauthorised;
        case 404:
            return Exit::not_found;
        case 409:
        case 412:
            return Exit::conflict;
        case 408:
        case 504:
            return Exit::timeout;
        default:
            return Exit::failed;
    }
}

Problem not_weir(const ServerAddress& address, const Answer& answer) {
    Problem problem;
    problem.status = answer.status;
    problem.detail = address.text() + " answered " + std::to_string(answer.status) + " and is not weir";
    problem.exit = answer.status == 404 ? Exit::failed : exit_of_http(answer.status, "");
    return problem;
}

Problem problem_of(const ServerAddress& address, const Answer& answer) {
    Problem problem;
    problem.status = answer.status;
    if (const Result<Json> body = parse_json(answer.body); body && body.value().is_object()) {
        problem.code = string_of(member(body.value(), "code"));
        problem.detail = string_of(member(body.value(), "detail"));
        if (problem.detail.empty()) problem.detail = string_of(member(body.value(), "title"));
        problem.position = integer_of(member(body.value(), "position"), -1);
    }
    if (problem.code.empty()) return not_weir(address, answer);
    if (problem.detail.empty()) problem.detail = "the server answered " + std::to_string(answer.status);
    problem.exit = exit_of_http(problem.status, problem.code);
    return problem;
}

Problem cannot_reach(const ServerAddress& address, std::string_view why) {
    Problem problem;
    problem.exit = Exit::unreachable;
    problem.detail = "cannot reach " + address.text() + ": " + std::string(why);
    return problem;
}

void judge(const ServerAddress& address, bool wants_json, Client::Outcome& out) {
    if (!out.ok()) {
        out.problem = problem_of(address, out.answer);
        out.is_weir = !out.problem.code.empty();
    } else if (wants_json && !looks_like_json(out.answer.body)) {
        out.problem = not_weir(address, out.answer);
        out.is_weir = false;
    }
}

struct Client::State {
    ServerChoice choice;
    httplib::Client http;
    httplib::Headers headers;

    explicit State(ServerChoice given) : choice(std::move(given)), http(choice.address.host, choice.address.port) {
        http.set_connection_timeout(connect_timeout_s);
        http.set_keep_alive(true);
        http.set_tcp_nodelay(true);
        if (!choice.api_key.empty()) headers.emplace("Authorization", "Bearer " + choice.api_key);
    }

    Outcome outcome(const httplib::Result& result, bool wants_json) const {
        Outcome out;
        if (!result) {
            out.problem = result.error() == httplib::Error::Read
                              ? Problem{Exit::timeout, 0, "", choice.address.text() + ": " + why_of(result.error()), -1}
                              : cannot_reach(choice.address, why_of(result.error()));
            return out;
        }
        out.answered = true;
        out.answer.status = result->status;
        out.answer.body = result->body;
        if (const std::string after = result->get_header_value("Retry-After"); !after.empty()) {
            std::from_chars(after.data(), after.data() + after.size(), out.answer.retry_after_s);
        }
        judge(choice.address, wants_json, out);
        return out;
    }
};

Client::Client(ServerChoice choice) : state_(std::make_unique<State>(std::move(choice))) {
    set_read_timeout_ms(read_timeout_ms_default);
}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Client::Outcome Client::get(const std::string& path) {
    const bool is_text = path == "/readyz" || path == "/metrics";
    return state_->outcome(state_->http.Get(state_->choice.address.prefix + path, state_->headers), !is_text);
}

Client::Outcome Client::post(const std::string& path, const std::string& content_type, const std::string& body) {
    return state_->outcome(state_->http.Post(state_->choice.address.prefix + path, state_->headers, body, content_type),
                           true);
}

void Client::set_read_timeout_ms(std::int64_t ms) {
    state_->http.set_read_timeout(static_cast<time_t>(ms / 1000), static_cast<time_t>(ms % 1000 * 1000));
}

const ServerChoice& Client::choice() const {
    return state_->choice;
}

std::string url_escape(std::string_view text) {
    constexpr std::string_view hex = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                           c == '.' || c == '_' || c == '~';
        if (plain) {
            out += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += '%';
            out += hex[byte >> 4];
            out += hex[byte & 15];
        }
    }
    return out;
}

}  // namespace weir::node
