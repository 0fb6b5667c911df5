#include "base/check.h"
#include "http/detail/call.h"
#include "obs/metrics.h"

#include <httplib.h>

#include <algorithm>
#include <cstring>

namespace weir::http {
namespace {

constexpr std::chrono::milliseconds deadline_look{100};  // while a client takes nothing

}  // namespace

std::optional<std::string_view> parameter(const Parameters& all, std::string_view name) {
    for (const auto& [key, value] : all)
        if (key == name) return value;
    return std::nullopt;
}

Result<Parameters> parse_query(std::string_view text) {
    Parameters out;
    while (!text.empty()) {
        const std::string_view pair = text.substr(0, text.find('&'));
        text.remove_prefix(std::min(pair.size() + 1, text.size()));
        if (pair.empty()) continue;
        std::string spaced(pair);
        std::ranges::replace(spaced, '+', ' ');
        const std::size_t equals = std::min(spaced.find('='), spaced.size());
        std::string name, value;
        if (!percent_decode(std::string_view(spaced).substr(0, equals), name) ||
            !percent_decode(std::string_view(spaced).substr(std::min(equals + 1, spaced.size())), value))
            return Error{Errc::invalid_argument, "a '%' in the query needs two hex digits behind it"};
        out.emplace_back(std::move(name), std::move(value));
    }
    return out;
}

bool Reply::post(std::string&& bytes, Part part) {
    if (gone_) return false;
    unsent_ += static_cast<std::int64_t>(bytes.size());
    mailbox_.post(ReplyPart{.connection = call_.connection,
                            .bytes = std::move(bytes),
                            .status = status_,
                            .last = part == Part::last || part == Part::last_and_close,
                            .close = part == Part::last_and_close,
                            .cut = part == Part::cut});
    if (part != Part::more) return true;
    std::vector<std::int64_t> credits;
    while (true) {
        credits.clear();
        call_.flow->credits.drain(credits);
        for (const std::int64_t credit : credits) {
            if (credit == Flow::gone) {
                gone_ = true;
                return false;
            }
            unsent_ -= credit;
        }
        if (unsent_ <= unsent_max) return true;
        if (clock_.monotonic_us() >= deadline_us_) return false;
        call_.flow->credits.wait_for(deadline_look);
    }
}

void Reply::send(int status, std::string bytes) {
    CHECK(!began_);
    status_ = status;
    post(std::move(bytes), Part::last);
}

bool Reply::begin(int status, std::string_view content_type) {
    CHECK(!began_);
    began_ = true;
    status_ = status;
    const std::string date = http_date(clock_.wall_ms());
    std::string head;
    // HTTP/1.0 knows no chunks: the end of the connection ends the answer.
    append_head(head, {.status = status,
                       .content_type = content_type,
                       .length = call_.http10 ? -2 : -1,
                       .keep_alive = call_.keep_alive && !call_.http10,
                       .http10 = call_.http10,
                       .date = date,
                       .headers = call_.headers});
    return post(std::move(head), Part::more);
}

bool Reply::piece(std::string& bytes) {
    if (bytes.empty()) return !gone_;
    std::string out;
    if (call_.http10) {
        out = std::move(bytes);
    } else {
        char size[24];
        const int n = std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
        out.reserve(bytes.size() + 32);
        out.append(size, static_cast<std::size_t>(n));
        out += bytes;
        out += "\r\n";
    }
    bytes.clear();
    return post(std::move(out), Part::more);
}

void Reply::end() {
    if (call_.http10)
        post({}, Part::last_and_close);
    else
        post("0\r\n\r\n", Part::last);
}

void Reply::cut() {
    post({}, Part::cut);
}

namespace {

// A request and its answer in memory, where cpp-httplib expects a socket.
class MemoryStream : public httplib::Stream {
  public:
    explicit MemoryStream(std::string in) : in_(std::move(in)) {}
    bool is_readable() const override { return at_ < in_.size(); }
    bool is_writable() const override { return true; }
    ssize_t read(char* to, std::size_t size) override {
        const std::size_t n = std::min(size, in_.size() - at_);
        std::memcpy(to, in_.data() + at_, n);
        at_ += n;
        return static_cast<ssize_t>(n);
    }
    ssize_t write(const char* from, std::size_t size) override {
        out_.append(from, size);
        return static_cast<ssize_t>(size);
    }
    void get_remote_ip_and_port(std::string& ip, int& port) const override {
        ip = "127.0.0.1";
        port = 0;
    }
    void get_local_ip_and_port(std::string& ip, int& port) const override {
        ip = "127.0.0.1";
        port = 0;
    }
    socket_t socket() const override { return -1; }
    std::string take() { return std::move(out_); }

  private:
    std::string in_, out_;
    std::size_t at_ = 0;
};

// process_request is protected: a server that never listens.
class Dispatcher : public httplib::Server {
  public:
    void run(httplib::Stream& stream, bool close_connection) {
        bool closed = false;
        process_request(stream, close_connection, closed, nullptr);
    }
};

std::string regex_of(std::string_view pattern) {
    std::string out(pattern.substr(0, pattern.find('{')));
    if (out.size() < pattern.size()) {
        out += "([^/]+)";
        out += pattern.substr(pattern.find('}') + 1);
    }
    return out;
}

std::string path_of(const Call& call) {
    const std::string_view pattern = call.route->pattern;
    std::string out(pattern.substr(0, pattern.find('{')));
    if (out.size() < pattern.size()) {
        out += call.parameter;
        out += pattern.substr(pattern.find('}') + 1);
    }
    return out;
}

}  // namespace

struct Router::Impl {
    const RouteContext& context;
    Dispatcher dispatcher;
    const Call* call = nullptr;  // the one being handled
    Reply* reply = nullptr;
    int status = 200;

    explicit Impl(const RouteContext& c) : context(c) {}

    Answer answer(RouteId id, const Parameters& parameters) {
        switch (id) {
            case RouteId::sql:
                return handle_sql(context, *call, parameters, *reply);
            case RouteId::streams:
                return handle_streams(context, parameters);
            case RouteId::stream:
                return handle_stream(context, *call);
            case RouteId::events:
                return handle_events(context, *call, parameters);
            case RouteId::views:
                return handle_views(context);
            case RouteId::cluster:
                return handle_cluster(context);
            case RouteId::history:
                return handle_history(context, parameters);
            case RouteId::metrics:
                return {.status = 200,
                        .content_type = "text/plain; version=0.0.4",
                        .headers = {},
                        .body = context.parts.metrics.text()};
            case RouteId::ingest:
            case RouteId::tail:
            case RouteId::view_tail:
            case RouteId::socket:
            case RouteId::livez:
            case RouteId::readyz:
            case RouteId::home:
            case RouteId::none:
                break;
        }
        CHECK(false);  // the loop sends pool routes only
        return {};
    }

    void on_route(RouteId id, httplib::Response& response) {
        // Not cpp-httplib's: of `where=a>=1` it makes 1.
        const Result<Parameters> parameters = parse_query(call->query);
        const Answer a = parameters ? answer(id, parameters.value()) : answer_of(problem_of(parameters.error()));
        status = a.status;
        response.status = a.status;
        if (reply->began()) return;
        response.set_content(a.body, std::string(a.content_type));
        response.set_header("Date", http_date(context.parts.clock.wall_ms()));
        response.set_header("Cache-Control", "no-store");
        response.set_header("X-Content-Type-Options", "nosniff");
        add_lines(a.headers, response);
        add_lines(call->headers, response);
        if (call->http10 && call->keep_alive) response.set_header("Connection", "keep-alive");
    }

    static void add_lines(std::string_view lines, httplib::Response& response) {
        while (!lines.empty()) {
            const std::size_t end = lines.find("\r\n");
            const std::string_view line = lines.substr(0, end);
            const std::size_t colon = line.find(": ");
            CHECK(end != std::string_view::npos && colon != std::string_view::npos);
            response.set_header(std::string(line.substr(0, colon)), std::string(line.substr(colon + 2)));
            lines.remove_prefix(end + 2);
        }
    }
};

Router::Router(const RouteContext& context) : impl_(std::make_unique<Impl>(context)) {
    Impl* impl = impl_.get();
    for (const Route& route : routes) {
        if (route.place != Place::pool) continue;
        const RouteId id = route.id;
        auto handler = [impl, id](const httplib::Request&, httplib::Response& s) { impl->on_route(id, s); };
        if (route.method == "GET")
            impl->dispatcher.Get(regex_of(route.pattern), handler);
        else
            impl->dispatcher.Post(regex_of(route.pattern), handler);
    }
    // Its own words about the connection would be wrong: it does not own it.
    impl->dispatcher.set_post_routing_handler([](const httplib::Request&, httplib::Response& s) {
        s.headers.erase("Keep-Alive");
        s.headers.erase("Accept-Ranges");
    });
}

Router::~Router() = default;

void Router::handle(const Call& call, Reply& reply) {
    impl_->call = &call;
    impl_->reply = &reply;
    impl_->status = 404;
    std::string in = call.method + ' ' + path_of(call);
    if (!call.query.empty()) in += '?' + call.query;
    // The body stays with the call: cpp-httplib would take a form for parameters, and its size for its own business.
    in += " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    MemoryStream stream(std::move(in));
    impl_->dispatcher.run(stream, !call.keep_alive);
    if (!reply.began()) reply.send(impl_->status, stream.take());
    impl_->call = nullptr;
    impl_->reply = nullptr;
}

}  // namespace weir::http
