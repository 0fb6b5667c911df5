#include "http/detail/parser.h"

#include "base/check.h"
#include "base/limits.h"

#include <algorithm>
#include <boost/beast/http.hpp>
#include <cstring>

namespace weir::http {
namespace {

namespace beast = boost::beast;
namespace bhttp = boost::beast::http;

constexpr std::size_t fields_max = 100;
constexpr std::size_t target_bytes_max = 8192;
constexpr std::size_t padding_bytes = 64;                   // what the JSON decoder may read behind a body
constexpr std::size_t first_body_bytes = 64 * limits::kib;  // reserved on a client's word alone

// A body as it grows. bytes.size() is what may be written, `size` what was.
struct Body {
    std::string bytes;
    std::size_t size = 0;
    std::size_t seen = 0;  // with discarded bytes
    std::size_t size_max = limits::body_bytes_max;
    bool discard = false;

    void make_room(std::size_t more) {
        const std::size_t need = size + more + padding_bytes;
        if (bytes.size() >= need) return;
        bytes.resize(std::max(need, std::min(bytes.size() * 2, size_max + padding_bytes)));
    }
};

// Beast's body concept over Body. Bytes that were received in place are only counted.
struct InPlaceBody {
    using value_type = Body;  // NOLINT(readability-identifier-naming): the name that Beast asks for
    class reader {            // NOLINT(readability-identifier-naming): likewise
      public:
        template <bool is_request, class Fields>
        reader(bhttp::header<is_request, Fields>&, Body& body) : body_(body) {}
        void init(const boost::optional<std::uint64_t>&, beast::error_code& ec) { ec = {}; }
        template <class Buffers>
        std::size_t put(const Buffers& buffers, beast::error_code& ec) {
            ec = {};
            std::size_t total = 0;
            for (auto it = boost::asio::buffer_sequence_begin(buffers); it != boost::asio::buffer_sequence_end(buffers);
                 ++it) {
                const boost::asio::const_buffer piece = *it;
                const std::size_t n = piece.size();
                if (n == 0) continue;
                if (n > body_.size_max - std::min(body_.seen, body_.size_max)) {
                    ec = bhttp::error::body_limit;
                    return total;
                }
                body_.seen += n;
                total += n;
                if (body_.discard) continue;
                const auto* from = static_cast<const char*>(piece.data());
                if (from != body_.bytes.data() + body_.size) {
                    body_.make_room(n);
                    std::memcpy(body_.bytes.data() + body_.size, from, n);
                }
                body_.size += n;
            }
            return total;
        }
        void finish(beast::error_code& ec) { ec = {}; }

      private:
        Body& body_;
    };
};

using BeastParser = bhttp::request_parser<InPlaceBody>;

std::string_view view(beast::string_view s) {
    return {s.data(), s.size()};
}

bool is_digits(std::string_view s) {
    return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Problem bad_request(std::string detail) {
    Problem p;
    p.status = 400;
    p.code = "bad_request";
    p.detail = std::move(detail);
    return p;
}

Problem problem_of_beast(const beast::error_code& ec) {
    Problem p = bad_request("not a valid HTTP/1.1 request: " + ec.message());
    if (ec == bhttp::error::header_limit) {
        p.status = 431;
        p.code = "header_too_large";
        p.detail = "the request's head is larger than 64 KiB";
    } else if (ec == bhttp::error::body_limit || ec == bhttp::error::buffer_overflow) {
        p.status = 413;
        p.code = errc_name(Errc::too_large);
        p.detail = "the request's body is larger than this route takes; split it";
    }
    return p;
}

}  // namespace

struct RequestParser::State {
    std::optional<BeastParser> beast;
    RequestHead head;
    Problem failure;
    bool head_done = false, failed = false, any = false;
    std::size_t fields = 0;

    void fail(Problem problem) {
        failure = std::move(problem);
        failed = true;
    }

    // What Beast forgives in a head's raw bytes: folded lines, NUL, and CR or LF on their own. Beast consumes whole
    // lines.
    static bool scan(std::string_view bytes) {
        if (bytes.empty()) return true;
        auto folds = [&](std::size_t at) { return at < bytes.size() && (bytes[at] == ' ' || bytes[at] == '\t'); };
        if (folds(0) || bytes.find('\0') != std::string_view::npos) return false;
        if (std::count(bytes.begin(), bytes.end(), '\r') != std::count(bytes.begin(), bytes.end(), '\n')) return false;
        for (std::size_t at = bytes.find('\n'); at != std::string_view::npos; at = bytes.find('\n', at + 1))
            if (at == 0 || bytes[at - 1] != '\r' || folds(at + 1)) return false;
        return true;
    }

    void read_head();
    void read_extension(std::string_view name, std::string_view value);
    bool check_head(std::size_t hosts, std::size_t lengths, std::size_t encodings, std::string_view encoding);
};

void RequestParser::State::read_head() {
    const auto& message = beast->get();
    head.method = view(message.method_string());
    head.target = view(message.target());
    head.http10 = message.version() == 10;
    head.keep_alive = beast->keep_alive();
    head.chunked = beast->chunked();
    std::size_t hosts = 0, lengths = 0, encodings = 0, content_encodings = 0, content_types = 0;
    std::string_view encoding, length;
    for (const auto& field : message) {
        ++fields;
        const std::string_view value = view(field.value());
        switch (field.name()) {
            case bhttp::field::host:
                head.host = value;
                ++hosts;
                break;
            case bhttp::field::content_type:
                head.content_type = value;
                head.content_type_twice = ++content_types > 1;
                break;
            case bhttp::field::content_encoding:
                head.content_encoding = value;
                ++content_encodings;
                break;
            case bhttp::field::content_length:
                length = value;
                ++lengths;
                break;
            case bhttp::field::transfer_encoding:
                encoding = value;
                ++encodings;
                break;
            case bhttp::field::expect:
                head.expect = value;
                break;
            case bhttp::field::authorization:
                head.authorization = value;
                ++head.authorizations;
                break;
            case bhttp::field::upgrade:
                head.upgrade = value;
                break;
            case bhttp::field::connection:
                head.connection = value;
                break;
            case bhttp::field::sec_websocket_key:
                head.ws_key = value;
                break;
            case bhttp::field::sec_websocket_version:
                head.ws_version = value;
                break;
            case bhttp::field::sec_websocket_protocol:
                head.ws_protocols = value;
                break;
            case bhttp::field::origin:
                head.origin = value;
                break;
            case bhttp::field::unknown: {
                const auto name = field.name_string();
                read_extension({name.data(), name.size()}, value);
                break;
            }
            default:
                break;
        }
    }
    head.content_encoding_twice = content_encodings > 1;
    if (lengths > 0 && (lengths > 1 || !is_digits(length)))
        return fail(bad_request("Content-Length must be one number"));
    if (lengths > 0) head.content_length = beast->content_length() ? *beast->content_length() : 0;
    if (!check_head(hosts, lengths, encodings, encoding)) return;
    // An absolute target names the host itself (RFC 9112, 3.2.2).
    for (const std::string_view scheme : {"http://", "https://"}) {
        if (!head.target.starts_with(scheme)) continue;
        const std::string_view rest = head.target.substr(scheme.size());
        const std::size_t slash = std::min(rest.find_first_of("/?"), rest.size());
        head.host = rest.substr(0, slash);
        head.target = rest.substr(slash);
        if (head.target.empty() || head.target[0] != '/') return fail(bad_request("the target has no path"));
        break;
    }
    if (head.target.size() > target_bytes_max) {
        Problem p = bad_request("the target is longer than 8 KiB");
        p.status = 414;
        p.code = "target_too_long";
        fail(std::move(p));
    }
}

// Fields that Beast has no number for.
void RequestParser::State::read_extension(std::string_view name, std::string_view value) {
    const auto is = [name](std::string_view other) {
        return name.size() == other.size() && beast::iequals(beast::string_view(name.data(), name.size()),
                                                             beast::string_view(other.data(), other.size()));
    };
    if (name.size() > 3 && beast::iequals(beast::string_view(name.data(), 3), "ce-")) {
        head.cloud_fields.emplace_back(name.substr(3), value);
    } else if (is("idempotency-key")) {
        head.idempotency_key_twice = head.idempotency_key.data() != nullptr;
        head.idempotency_key = value;
    } else if (is("webhook-request-origin")) {
        head.webhook_request_origin = value;
    } else if (is("sec-fetch-site")) {
        head.sec_fetch_site = value;
    } else if (is("sec-fetch-mode")) {
        head.sec_fetch_mode = value;
    } else if (is("last-event-id")) {
        head.last_event_id = value;
    }
}

bool RequestParser::State::check_head(std::size_t hosts, std::size_t lengths, std::size_t encodings,
                                      std::string_view encoding) {
    if (fields > fields_max) {
        Problem p = bad_request("more than 100 header fields");
        p.status = 431;
        p.code = "header_too_large";
        fail(std::move(p));
    } else if (hosts > 1 || (hosts == 0 && !head.http10)) {
        fail(bad_request("a request needs exactly one Host field"));
    } else if (encodings > 0 && lengths > 0) {
        fail(bad_request("Content-Length beside Transfer-Encoding"));
    } else if (encodings > 0 && (encodings > 1 || head.http10 || !head.chunked ||
                                 !beast::iequals(beast::string_view(encoding.data(), encoding.size()), "chunked"))) {
        fail(bad_request("Transfer-Encoding may only be `chunked`, in HTTP/1.1"));
    }
    return !failed;
}

RequestParser::RequestParser() : state_(std::make_unique<State>()) {
    reset();
}
RequestParser::~RequestParser() = default;
RequestParser::RequestParser(RequestParser&&) noexcept = default;

void RequestParser::reset() {
    State& s = *state_;
    s.beast.emplace();
    s.beast->header_limit(static_cast<std::uint32_t>(limits::header_bytes_max));
    s.beast->body_limit(limits::body_bytes_max);
    s.beast->eager(false);
    s.head = {};
    s.failure = {};
    s.head_done = s.failed = s.any = false;
    s.fields = 0;
}

RequestParser::Put RequestParser::put(std::string_view bytes) {
    State& s = *state_;
    CHECK(!s.failed);
    Put out;
    // Some clients send an empty line behind a body (RFC 9112, 2.2): one is skipped.
    if (!s.any) {
        if (bytes.empty() || bytes == "\r") return out;
        s.any = true;
        if (bytes.starts_with("\r\n")) {
            out.consumed = 2;
            bytes.remove_prefix(2);
        }
    }
    while (!bytes.empty()) {
        // Beast asserts that it never sees less than "0\r\n\r\n" of a last chunk again. Whatever is left of a
        // chunked body is at least that long, so waiting for it costs nothing.
        if (s.head_done && s.head.chunked && bytes.size() < 5) return out;
        beast::error_code ec;
        const std::size_t n = s.beast->put(boost::asio::buffer(bytes.data(), bytes.size()), ec);
        if (!s.head_done && !s.scan(bytes.substr(0, n)))
            s.fail(bad_request("the head holds a folded line, a NUL, or a CR or LF on its own"));
        else if (ec && ec != bhttp::error::need_more)
            s.fail(problem_of_beast(ec));
        out.consumed += n;
        bytes.remove_prefix(n);
        if (s.failed) break;
        if (!s.head_done && s.beast->is_header_done()) {
            s.head_done = true;
            s.read_head();
            if (s.failed) break;
            s.beast->eager(true);
            out.step = ParseStep::head;
            return out;
        }
        if (s.beast->is_done()) {
            // Trailers land among the fields: nothing here reads them, and others do.
            const auto& message = s.beast->get();
            if (static_cast<std::size_t>(std::distance(message.begin(), message.end())) != s.fields) {
                s.fail(bad_request("trailers are not taken"));
                break;
            }
            out.step = ParseStep::done;
            return out;
        }
        if (ec == bhttp::error::need_more || n == 0) {
            // Between data, what is left is a head, a chunk's line or trailers: none may be longer than a head.
            if (bytes.size() > limits::header_bytes_max) {
                s.fail(s.head_done ? bad_request("a chunk's line is longer than 64 KiB")
                                   : problem_of_beast(make_error_code(bhttp::error::header_limit)));
                break;
            }
            return out;
        }
    }
    if (s.failed) out.step = ParseStep::failed;
    return out;
}

const RequestHead& RequestParser::head() const {
    return state_->head;
}
bool RequestParser::complete() const {
    return state_->head_done && state_->beast->is_done();
}
const Problem& RequestParser::failure() const {
    return state_->failure;
}

void RequestParser::limit_body(std::size_t bytes_max) {
    CHECK(bytes_max <= limits::body_bytes_max);
    state_->beast->get().body().size_max = bytes_max;
}

void RequestParser::discard_body() {
    state_->beast->get().body().discard = true;
}

std::span<char> RequestParser::body_space() {
    State& s = *state_;
    if (!s.head_done || s.failed || s.beast->is_done() || s.head.chunked) return {};
    Body& body = s.beast->get().body();
    if (body.discard) return {};
    if (!s.head.content_length || *s.head.content_length <= body.seen) return {};
    const auto left = static_cast<std::size_t>(*s.head.content_length) - body.seen;
    if (body.bytes.size() < body.size + padding_bytes + std::min<std::size_t>(left, 4096))
        body.make_room(std::min(left, std::max(first_body_bytes, body.size)));
    return {body.bytes.data() + body.size, std::min(left, body.bytes.size() - padding_bytes - body.size)};
}

std::size_t RequestParser::body_bytes() const {
    return state_->beast->get().body().seen;
}
std::size_t RequestParser::body_memory() const {
    return state_->beast->get().body().bytes.capacity();
}

std::string RequestParser::take_body() {
    Body& body = state_->beast->get().body();
    body.make_room(0);
    std::string out = std::move(body.bytes);
    body.bytes.clear();
    out.resize(body.size);
    body.size = 0;
    return out;
}

}  // namespace weir::http
