// The HTTP client of the commands: one request at a time, blocking. What streams (produce, bench) uses node/pipe.h
// instead.
//
// Owner: one thread.
#pragma once

#include "base/result.h"
#include "node/exit_code.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace weir::node {

inline constexpr const char* default_server = "http://127.0.0.1:8080";

struct ServerAddress {
    std::string host;  // no brackets
    std::uint16_t port = 80;
    std::string prefix;        // "" or "/weir": a proxy's path, without the last '/'
    std::string text() const;  // "http://127.0.0.1:8080"
};
// "http://host:port[/prefix]", "host:port". Errors: invalid_argument (https too: this version speaks plain HTTP).
Result<ServerAddress> parse_server(std::string_view url);

struct ServerChoice {
    ServerAddress address;
    std::string api_key;  // "" none
};

struct Answer {
    int status = 0;
    std::string body;
    std::int64_t retry_after_s = -1;  // -1: not said
};

// What a server said that was not 2xx, or why it could not be asked.
struct Problem {
    Exit exit = Exit::failed;
    int status = 0;              // 0: no answer
    std::string code;            // of application/problem+json, "" where there was none
    std::string detail;          // for people
    std::int64_t position = -1;  // byte offset in the SQL text
};
// Reads a problem+json body; with any other body it is not_weir().
Problem problem_of(const ServerAddress& address, const Answer& answer);
// Something answers at the address that does not speak as weir does: another program, or a proxy in front of it. A 404
// of such a one is no `not_found`.
Problem not_weir(const ServerAddress& address, const Answer& answer);
Problem cannot_reach(const ServerAddress& address, std::string_view why);
// The exit code of an HTTP status and a problem's code.
Exit exit_of_http(int status, std::string_view code);

class Client {
  public:
    explicit Client(ServerChoice choice);
    ~Client();
    Client(Client&&) noexcept;
    Client& operator=(Client&&) noexcept;

    // `path` starts with '/', query included. nullopt-free: a Problem of status 0 means that no answer came.
    struct Outcome {
        bool answered = false;
        Answer answer;
        bool is_weir = true;  // false: the body is none that weir sends
        Problem problem;      // filled unless ok()
        bool ok() const { return answered && is_weir && answer.status >= 200 && answer.status < 300; }
    };
    // An answer that is not JSON is not weir's, but for those of /readyz.
    Outcome get(const std::string& path);
    Outcome post(const std::string& path, const std::string& content_type, const std::string& body);

    // Longest silence of the server, default 60 s: a query with a longer deadline needs more.
    void set_read_timeout_ms(std::int64_t ms);
    const ServerChoice& choice() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

// Fills `problem` and `is_weir` of an answer that came. `wants_json`: of a good one too.
void judge(const ServerAddress& address, bool wants_json, Client::Outcome& out);

// A path segment or query value: everything but unreserved characters as %XX.
std::string url_escape(std::string_view text);

}  // namespace weir::node
