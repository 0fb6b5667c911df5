// What the door answers: a whole answer, and the problem documents (RFC 9457) that refusals are.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::http {

// A refusal, before it is written. `code` is the stable word that scripts compare.
struct Problem {
    int status = 400;
    std::string code = {};
    std::string detail = {};              // for people
    int retry_after_s = -1;               // >= 0: Retry-After
    bool retryable = false;               // the same request may succeed later
    std::string allow = {};               // of a 405
    std::string authenticate = {};        // WWW-Authenticate, of a 401 or 403
    std::string headers = {};             // further lines, each ended by CRLF
    std::int64_t position = -1;           // byte in the statement, -1: none
    std::int64_t line = -1, column = -1;  // of that byte, both from 1
};

struct Answer {
    int status = 200;
    std::string_view content_type = "application/json";  // a literal
    std::string headers = {};                            // further lines, each ended by CRLF
    std::string body = {};
};

// The one place where an Errc becomes a status.
Problem problem_of(const Error& error);
// The same for a statement: a mistake in it is `sql_error`, with line and column of the byte.
Problem sql_problem_of(const Error& error, std::string_view statement);
Answer answer_of(const Problem& problem);

std::string_view status_phrase(int status);
// A Retry-After that spreads clients which were refused at the same moment: `base_s` or up to two seconds more.
int retry_after_s(int base_s);

// The head of an answer. `length` -1: chunked; -2: neither (an answer without a body, or ended by closing).
struct Head {
    int status = 200;
    std::string_view content_type;
    std::int64_t length = 0;
    bool keep_alive = true;
    bool http10 = false;
    std::string_view date;     // an HTTP date
    std::string_view headers;  // further lines
};
void append_head(std::string& out, const Head& head);
// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7).
std::string http_date(std::int64_t wall_ms);

}  // namespace weir::http
