// Any bytes as a connection's input, in any cuts. Beside crashes it looks for what makes smuggling possible: the
// requests that are read must be the same whether the bytes come at once or in pieces. The first byte picks the
// size of the pieces.
#include "http/detail/parser.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

using weir::http::ParseStep;
using weir::http::RequestParser;

void require(bool claim) {
    if (!claim) std::abort();
}

std::vector<std::string> requests_of(std::string_view bytes, std::size_t cut) {
    std::vector<std::string> requests;
    RequestParser parser;
    std::string waiting;
    while (!bytes.empty() || !waiting.empty()) {
        RequestParser::Put put;
        bool offered_new = true;
        const std::span<char> space = waiting.empty() && !bytes.empty() ? parser.body_space() : std::span<char>();
        if (!space.empty()) {
            const std::size_t n = std::min({cut, bytes.size(), space.size()});
            std::memcpy(space.data(), bytes.data(), n);
            bytes.remove_prefix(n);
            put = parser.put({space.data(), n});
            require(put.step == ParseStep::failed || put.consumed == n);
        } else {
            const std::size_t n = std::min(cut, bytes.size());
            offered_new = n > 0;
            waiting.append(bytes.substr(0, n));
            bytes.remove_prefix(n);
            put = parser.put(waiting);
            require(put.consumed <= waiting.size());
            waiting.erase(0, put.consumed);
        }
        if (put.step == ParseStep::failed) {
            require(parser.failure().status >= 400 && parser.failure().status < 500);
            return requests;
        }
        if (put.step == ParseStep::done || (put.step == ParseStep::head && parser.complete())) {
            const auto& head = parser.head();
            std::string text(head.method);
            text += ' ';
            text += head.target;
            text += ' ';
            text += head.host;
            text += head.keep_alive ? " k " : " c ";
            const std::string body = parser.take_body();
            require(body.capacity() >= body.size() + 64);
            require(!head.content_length || *head.content_length == body.size());
            requests.push_back(text + body);
            parser.reset();
        } else if (put.step == ParseStep::need_more && !offered_new) {
            return requests;
        }
    }
    return requests;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    const auto whole = requests_of(bytes, bytes.size() + 1);
    require(whole == requests_of(bytes, 1 + data[0] % 64));
    require(whole == requests_of(bytes, 1));
    return 0;
}
