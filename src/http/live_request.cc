#include "http/detail/live_request.h"

#include "http/detail/json_text.h"
#include "record/time.h"
#include "sql/statement.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <optional>

namespace weir::http {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t id_max = (1ull << 53) - 1;  // what a double holds whole
constexpr std::size_t series_asked_max = 200;

Error bad(std::string detail) {
    return {Errc::invalid_argument, std::move(detail)};
}

Status check_members(const Json& message, std::initializer_list<std::string_view> known) {
    for (const auto& [key, value] : message.items()) {
        if (key == "op" || key == "id") continue;
        if (std::find(known.begin(), known.end(), key) == known.end())
            return bad("this message has no member \"" + key.substr(0, 100) + '"');
    }
    return {};
}

Result<std::string> text_member(const Json& message, const char* name) {
    const auto found = message.find(name);
    if (found == message.end() || found->is_null()) return std::string();
    if (!found->is_string()) return bad(std::string(name) + " must be a string");
    return found->get<std::string>();
}

Result<std::int64_t> count_member(const Json& message, const char* name, std::int64_t otherwise) {
    const auto found = message.find(name);
    if (found == message.end()) return otherwise;
    if (!found->is_number_unsigned()) return bad(std::string(name) + " must be a number, 0 or more");
    return static_cast<std::int64_t>(
        std::min<std::uint64_t>(found->get<std::uint64_t>(), static_cast<std::uint64_t>(credit_max)));
}

Result<Subscribe> read_subscribe(const Json& message) {
    Subscribe subscribe;
    subscribe.credit = TRY(count_member(message, "credit", credit_default));
    const std::string topic = TRY(text_member(message, "topic"));
    const std::string from = TRY(text_member(message, "from"));
    const Error what = bad("topic must be streams/NAME, views/NAME or metrics");
    if (topic == "metrics") {
        TRY(check_members(message, {"topic", "series", "credit"}));
        subscribe.topic = Topic::metrics;
        const auto series = message.find("series");
        if (series == message.end()) return subscribe;
        if (!series->is_array() || series->size() > series_asked_max) return bad("series must be an array of names");
        for (const Json& name : *series) {
            if (!name.is_string()) return bad("series must be an array of names");
            subscribe.series.push_back(name.get<std::string>());
        }
        return subscribe;
    }
    const std::size_t slash = topic.find('/');
    if (slash == std::string::npos) return what;
    subscribe.name = topic.substr(slash + 1);
    const std::string_view kind = std::string_view(topic).substr(0, slash);
    if (kind == "streams") {
        TRY(check_members(message, {"topic", "from", "where", "credit"}));
        subscribe.from = TRY(parse_stream_from(from));
        subscribe.where = TRY(text_member(message, "where"));
    } else if (kind == "views") {
        TRY(check_members(message, {"topic", "from", "credit"}));
        subscribe.topic = Topic::view;
        subscribe.from = TRY(parse_view_from(from));
    } else {
        return what;
    }
    if (!sql::check_name(subscribe.name))
        return Error{Errc::not_found, "there is no " + std::string(kind.substr(0, kind.size() - 1)) + " of that name"};
    return subscribe;
}

}  // namespace

Result<TailFrom> parse_stream_from(std::string_view text) {
    TailFrom from;
    if (text.empty() || text == "end") return from;
    if (text == "beginning") {
        from.kind = TailFrom::Kind::beginning;
    } else if (const auto cursor = query::Cursor::parse(text)) {
        from.kind = TailFrom::Kind::cursor;
        from.cursor = cursor.value();
    } else if (const auto time = record::parse_time_literal(text)) {
        from.kind = TailFrom::Kind::time;
        from.time_ms = *time;
    } else {
        return bad("from is a cursor (shard:index:ordinal), beginning, end, or an RFC 3339 time");
    }
    return from;
}

Result<TailFrom> parse_view_from(std::string_view text) {
    TailFrom from;
    from.kind = TailFrom::Kind::beginning;
    if (text.empty() || text == "beginning") return from;
    if (text == "end") {
        from.kind = TailFrom::Kind::end;
        return from;
    }
    const auto place = query::Cursor::parse(std::string(text) + ":0");
    if (!place) return bad("from is an index (shard:index) as `id` gave it, beginning, or end");
    from.kind = TailFrom::Kind::index;
    from.cursor = place.value();
    return from;
}

Result<WsRequest> parse_ws_request(std::string_view text, std::uint64_t& id) {
    id = 0;
    if (!is_shallow_json(text)) return bad("a message is nested too deep");
    const Json message = Json::parse(text, nullptr, false);
    if (message.is_discarded() || !message.is_object()) return bad("a message is one JSON object");
    WsRequest request;
    const auto given = message.find("id");
    if (given == message.end() || !given->is_number_unsigned() || given->get<std::uint64_t>() > id_max)
        return bad("id must be a number, 0 or more");
    request.id = id = given->get<std::uint64_t>();
    const std::string op = TRY(text_member(message, "op"));
    if (op == "sub") {
        request.subscribe = TRY(read_subscribe(message));
    } else if (op == "unsub") {
        TRY(check_members(message, {}));
        request.op = WsRequest::Op::unsubscribe;
    } else if (op == "credit") {
        TRY(check_members(message, {"n"}));
        request.op = WsRequest::Op::credit;
        request.credit = TRY(count_member(message, "n", 0));
    } else {
        return bad("op must be sub, unsub or credit");
    }
    return request;
}

}  // namespace weir::http
