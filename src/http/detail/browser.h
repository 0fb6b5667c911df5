// What keeps a web page that a user visits from reading or changing anything here: the name it came by (DNS
// rebinding) and where it came from (cross-site requests). Programs that are not browsers send neither field and
// pass. Immutable after construction; any thread.
#pragma once

#include "http/detail/parser.h"
#include "http/detail/problem.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http {

class BrowserRules {
  public:
    BrowserRules(std::vector<std::string> hosts, std::vector<std::string> origins);
    // `is_page`: the request is for the page itself, to which other sites may link.
    std::optional<Problem> check(const RequestHead& head, bool is_page) const;
    bool allows_origin(std::string_view origin) const;  // configured: it gets CORS fields
    bool allows_host(std::string_view host) const;      // host[:port]

  private:
    std::vector<std::string> hosts_, origins_;
};

}  // namespace weir::http
