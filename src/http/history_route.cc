// GET /v1/metrics/history: the recent past of the node's metrics.
#include "base/limits.h"
#include "http/detail/call.h"
#include "http/detail/json_text.h"
#include "http/detail/live_text.h"
#include "http/detail/read_wait.h"
#include "record/time.h"

#include <algorithm>
#include <optional>

namespace weir::http {
namespace {

constexpr std::int64_t span_ms_default = 15 * 60'000;

// An RFC 3339 time, epoch milliseconds, or an age such as 15m.
std::optional<std::int64_t> parse_time(std::string_view text, std::int64_t now_ms) {
    if (const auto ms = parse_unsigned(text, INT64_MAX)) return *ms;
    if (const auto age = record::parse_duration_ms(text)) return std::max<std::int64_t>(now_ms - *age, 0);
    return record::parse_time_literal(text);
}

}  // namespace

Answer handle_history(const RouteContext& context, const Parameters& parameters) {
    if (auto problem = check_known(parameters, {"series", "from", "to", "step"})) return answer_of(*problem);
    const obs::History* history = context.parts.history;
    if (history == nullptr)
        return answer_of(problem_of({Errc::unsupported, "this server keeps no history of its metrics"}));
    const std::int64_t now_ms = context.parts.clock.wall_ms();
    obs::History::Query query;
    query.to_ms = now_ms;
    const auto& known = history->series();
    if (const auto names = parameter(parameters, "series"); names && !names->empty()) {
        std::string_view rest = *names;
        while (true) {
            const std::string_view name = rest.substr(0, rest.find(','));
            const auto found = std::ranges::find(known, name, &obs::SeriesSpec::name);
            if (found == known.end())
                return answer_of(bad_parameter("there is no series " + std::string(name.substr(0, 100)) +
                                               "; without `series` the answer has all of them"));
            if (query.series.size() == known.size()) return answer_of(bad_parameter("a series is named twice"));
            query.series.push_back(static_cast<std::size_t>(found - known.begin()));
            if (name.size() == rest.size()) break;
            rest.remove_prefix(name.size() + 1);
        }
    } else {
        for (std::size_t i = 0; i < known.size(); ++i)
            query.series.push_back(i);
    }
    if (const auto text = parameter(parameters, "to"); text && !text->empty()) {
        const auto to = parse_time(*text, now_ms);
        if (!to) return answer_of(bad_parameter("to is an RFC 3339 time, epoch milliseconds, or an age such as 5m"));
        query.to_ms = std::min(*to, now_ms);
    }
    query.from_ms = std::max<std::int64_t>(query.to_ms - span_ms_default, 0);
    if (const auto text = parameter(parameters, "from"); text && !text->empty()) {
        const auto from = parse_time(*text, now_ms);
        if (!from)
            return answer_of(bad_parameter("from is an RFC 3339 time, epoch milliseconds, or an age such as 15m"));
        query.from_ms = *from;
    }
    if (const auto text = parameter(parameters, "step"); text && !text->empty()) {
        const auto step = record::parse_duration_ms(*text);
        if (!step || *step <= 0) return answer_of(bad_parameter("step is a duration such as 1s or 30s"));
        query.step_ms = *step;
    }
    const auto read = history->read(query);
    if (!read) return answer_of(problem_of(read.error()));
    const obs::History::Answer& past = read.value();
    Answer answer;
    std::string& out = answer.body;
    out += '{';
    append_member(out, "from", record::format_rfc3339(past.from_ms));
    append_member(out, "from_ms", past.from_ms);
    append_member(out, "step_ms", past.step_ms);
    append_member(out, "resolution_ms", past.resolution_ms);
    out += ",\"series\":[";
    for (std::size_t i = 0; i < query.series.size(); ++i) {
        const obs::SeriesSpec& spec = known[query.series[i]];
        append_comma(out);
        out += '{';
        append_member(out, "name", spec.name);
        append_member(out, "unit", spec.unit);
        append_member(out, "help", spec.help);
        out += ",\"values\":[";
        for (std::size_t p = 0; p < past.values[i].size(); ++p) {
            if (p > 0) out += ',';
            append_point(out, past.values[i][p]);
        }
        out += "]}";
    }
    out += "]}\n";
    return answer;
}

}  // namespace weir::http
