#include "http/detail/ingest.h"

#include "base/check.h"
#include "base/limits.h"
#include "http/detail/json_text.h"
#include "record/inflate.h"
#include "sql/statement.h"
#include "store/expression.h"

#include <algorithm>
#include <array>
#include <utility>

namespace weir::http {
namespace {

constexpr std::size_t checks_max = 1024;  // compiled CHECKs kept; above: all are compiled again

struct MediaType {
    std::string_view name;
    std::optional<record::BodyShape> shape;  // nullopt: only where the body looks like JSON
};

constexpr std::array<MediaType, 7> media_types{{
    {"application/json", record::BodyShape::json},
    {"application/x-ndjson", record::BodyShape::ndjson},
    {"application/ndjson", record::BodyShape::ndjson},
    {"application/jsonl", record::BodyShape::ndjson},
    {"application/stream+json", record::BodyShape::ndjson},
    {"", std::nullopt},
    {"application/x-www-form-urlencoded", std::nullopt},  // what curl -d says when it is not told
}};

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

std::string lowered(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), lower);
    return out;
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
        text.remove_suffix(1);
    return text;
}

Problem unsupported_media(std::string detail) {
    Problem p;
    p.status = 415;
    p.code = "unsupported_media_type";
    p.detail = std::move(detail);
    return p;
}

Problem unsupported_type(std::string_view type) {
    return unsupported_media("Content-Type " +
                             (type.empty() ? "is missing" : "is " + std::string(type.substr(0, 100))) +
                             "; this route takes application/json (an object or an array of objects) and "
                             "application/x-ndjson, application/ndjson, application/jsonl or application/stream+json "
                             "(an object a line); a body without a type must begin with { or [");
}

Answer unknown_outcome(std::string detail) {
    detail += detail.empty() ? "" : "; ";
    detail += "part or all of it may be stored: send it again where DEDUP or an Idempotency-Key covers it";
    return answer_of(problem_of({Errc::timed_out, std::move(detail)}));
}

void append_list_separator(std::string& out, std::size_t i) {
    if (i > 0) out += ',';
}

// The same text for every request that changes nothing.
Answer zeros(std::string_view stream, replica::ShardPort& shard) {
    replica::IngestOutcome nothing;
    nothing.shard = shard.id();
    nothing.applied_index = shard.visible();
    Answer a;
    append_ingest_answer(a.body, stream, nothing);
    return a;
}

}  // namespace

std::optional<Problem> plan_ingest(const RequestHead& head, std::string stream, IngestPlan& plan) {
    plan.stream = std::move(stream);
    plan.content_type = head.content_type.substr(0, 200);
    const std::string type = lowered(trimmed(head.content_type.substr(0, head.content_type.find(';'))));
    const auto known =
        std::find_if(media_types.begin(), media_types.end(), [&](const MediaType& m) { return m.name == type; });
    if (known == media_types.end()) return unsupported_type(head.content_type);
    plan.shape = known->shape;
    const std::string all = lowered(head.content_type);
    if (const std::size_t at = all.find("charset="); at != std::string::npos) {
        std::string_view charset = std::string_view(all).substr(at + 8);
        charset = trimmed(charset.substr(0, charset.find(';')));
        if (charset != "utf-8" && charset != "utf8" && charset != "\"utf-8\"" && charset != "us-ascii")
            return unsupported_media("JSON is UTF-8; this body says " + std::string(charset.substr(0, 50)));
    }
    const std::string encoding = lowered(trimmed(head.content_encoding));
    plan.gzip = encoding == "gzip" || encoding == "x-gzip";
    if (head.content_encoding_twice || !(encoding.empty() || encoding == "identity" || plan.gzip))
        return unsupported_media("Content-Encoding may be gzip or identity, once");
    return std::nullopt;
}

bool looks_like_json(std::string_view body) {
    if (body.starts_with("\xEF\xBB\xBF")) body.remove_prefix(3);
    const std::size_t at = body.find_first_not_of(" \t\r\n");
    return at != std::string_view::npos && (body[at] == '{' || body[at] == '[');
}

std::string_view json_hint(std::string_view body) {
    // "}" and then, behind nothing but spaces, "{": several objects. Where a line end is between, it is NDJSON;
    // where not, curl -d has eaten it. Only the front is searched: a hint is not worth more.
    body = body.substr(0, 64 * limits::kib);
    for (std::size_t close = body.find('}'); close != std::string_view::npos; close = body.find('}', close + 1)) {
        const std::size_t next = body.find_first_not_of(" \t\r\n", close + 1);
        if (next == std::string_view::npos) return {};
        if (body[next] != '{') continue;
        return body.substr(close, next - close).find('\n') != std::string_view::npos
                   ? "; this looks like one object a line: send it with Content-Type: application/x-ndjson"
                   : "; this looks like several objects without line ends (curl -d removes them): use "
                     "--data-binary and Content-Type: application/x-ndjson";
    }
    return {};
}

IngestDoor::IngestDoor(const ServerOptions& options, ServerParts parts, std::shared_ptr<Mailbox> mailbox,
                       std::size_t here_bytes_max)
    : options_(options),
      parts_(parts),
      mailbox_(std::move(mailbox)),
      here_bytes_max_(here_bytes_max),
      bytes_(parts.metrics.counter("weir_ingest_bytes_total", "Bytes of ingest bodies as received")) {}

IngestStep IngestDoor::begin(IngestOperation& op, Answer& answer) {
    if (!std::exchange(op.counted, true)) bytes_.add(static_cast<double>(op.body.size()));
    if (op.body.size() > here_bytes_max_) return IngestStep::wants_thread;
    if (op.plan.gzip && !op.body.empty()) {
        // What a gzip body says about its size is not to be trusted: try, and begin again elsewhere.
        const std::size_t bytes_max = std::min(here_bytes_max_, limits::body_bytes_max);
        auto inflated = record::gunzip(op.body, bytes_max);
        if (!inflated) {
            if (inflated.error().code == Errc::too_large && bytes_max < limits::body_bytes_max)
                return IngestStep::wants_thread;
            Error error = std::move(inflated).error();
            error.detail = error.code == Errc::too_large
                               ? "the body inflates to more than 64 MiB; split it"
                               : "Content-Encoding is gzip, and the body is not: " + error.detail;
            answer = answer_of(problem_of(error));
            return IngestStep::answered;
        }
        op.body = std::move(inflated).value();
    }
    if (op.plan.shape) {
        op.shape = *op.plan.shape;
    } else if (looks_like_json(op.body)) {
        op.shape = record::BodyShape::json;
    } else if (!op.body.empty()) {
        answer = answer_of(unsupported_type(op.plan.content_type));
        return IngestStep::answered;
    }
    op.held_bytes = op.body.capacity();
    return find_stream(op, answer);
}

IngestStep IngestDoor::find_stream(IngestOperation& op, Answer& answer) {
    const auto snapshot = parts_.catalog.snapshot();
    const auto found = snapshot->streams.find(op.plan.stream);
    if (found != snapshot->streams.end()) return with_stream(op, found->second, answer);
    if (!options_.undeclared_streams) {
        answer = answer_of(
            problem_of({Errc::not_found, "there is no stream " + op.plan.stream +
                                             "; CREATE STREAM it (this server makes none on the first event)"}));
        return IngestStep::answered;
    }
    // Nothing to store makes no stream.
    if (op.body.find_first_not_of(" \t\r\n") == std::string::npos) {
        answer = zeros(op.plan.stream, parts_.catalog.home());
        return IngestStep::answered;
    }
    return IngestStep::wants_stream;
}

IngestStep IngestDoor::with_stream(IngestOperation& op, Result<record::StreamPtr> stream, Answer& answer) {
    if (!stream) {
        answer = answer_of(problem_of(stream.error()));
        return IngestStep::answered;
    }
    op.stream = std::move(stream).value();
    return decode(op, answer);
}

Result<record::ColumnCheck*> IngestDoor::checks_of(const record::StreamPtr& stream) {
    const auto& columns = stream->schema.columns;
    if (std::none_of(columns.begin(), columns.end(), [](const record::Column& c) { return !c.check_sql.empty(); }))
        return static_cast<record::ColumnCheck*>(nullptr);
    const std::uint64_t id = stream->id.packed();
    const auto known = checks_.find(id);
    if (known != checks_.end() && known->second.stream == stream) return known->second.check.get();
    if (checks_.size() >= checks_max) checks_.clear();
    Checks made{stream, TRY(store::compile_checks(stream->schema))};
    record::ColumnCheck* check = made.check.get();
    checks_.insert_or_assign(id, std::move(made));
    return check;
}

IngestStep IngestDoor::decode(IngestOperation& op, Answer& answer) {
    if (op.body.size() > here_bytes_max_) return IngestStep::wants_thread;
    const record::StreamPtr& stream = op.stream;
    replica::ShardPort& shard = parts_.catalog.shard_of(*stream);
    if (op.body.empty()) {
        answer = zeros(op.plan.stream, shard);
        return IngestStep::answered;
    }
    const auto check = checks_of(stream);
    if (!check) {
        Error error = check.error();
        error.detail = "a CHECK of stream " + stream->name + " does not compile: " + error.detail;
        error.code = Errc::corrupt;  // CREATE STREAM accepted it: not the sender's fault
        answer = answer_of(problem_of(error));
        return IngestStep::answered;
    }
    auto events = std::make_unique<record::DecodedEvents>();
    decoder_.decode(stream->schema, op.shape, op.body, shard.append_clock_ms(), shard.fingerprint_key(), check.value(),
                    *events);
    if (events->too_many) {  // not the events' fault one by one: a refused request, no dead letter
        const std::string why =
            events->rejected.empty() ? "too many events in one request" : events->rejected[0].message;
        answer = answer_of(problem_of({Errc::too_large, why + "; nothing was stored"}));
        return IngestStep::answered;
    }
    if (events->lines == 0) {
        answer = zeros(op.plan.stream, shard);
        return IngestStep::answered;
    }
    if (op.shape == record::BodyShape::json && events->raw.empty() && events->rejected.size() == 1 &&
        events->rejected[0].reason == record::Reject::malformed_json) {
        std::string& message = events->rejected[0].message;
        const std::string_view hint = json_hint(op.body);
        message.resize(std::min(message.size(), limits::dead_letter_message_bytes_max - hint.size()));
        message += hint;
    }
    replica::IngestRequest& request = op.request.emplace();
    request.stream = stream;
    request.body = std::move(op.body);
    request.events = std::move(events);
    request.content_type = op.plan.content_type;
    return IngestStep::decoded;
}

IngestStep IngestDoor::hand_over(IngestOperation& op, ConnectionId connection, Answer& answer) {
    CHECK(op.request.has_value());
    replica::IngestRequest request = std::move(*op.request);
    op.request.reset();
    replica::ShardPort& shard = parts_.catalog.shard_of(*request.stream);
    request.done = [mailbox = mailbox_, connection](replica::IngestOutcome&& outcome) {
        mailbox->post(IngestDone{connection, std::move(outcome)});
    };
    if (shard.submit(std::move(request))) {
        op.with_shard = true;
        return IngestStep::with_shard;
    }
    answer =
        answer_of(problem_of({Errc::overloaded, "the shard's queue is full; nothing was stored, send it again later"}));
    return IngestStep::answered;
}

Answer IngestDoor::finish(const IngestOperation& op, const replica::IngestOutcome& outcome) {
    if (outcome.status) {
        Answer answer;
        const bool kept_any = outcome.accepted > 0 || outcome.duplicates > 0;
        answer.status = kept_any || outcome.rejected == 0 ? 200 : 400;
        append_ingest_answer(answer.body, op.plan.stream, outcome);
        return answer;
    }
    const Error& error = outcome.status.error();
    if (error.code == Errc::timed_out) return unknown_outcome(error.detail);
    // A definition changes only by DROP and CREATE today, which is rare: the body has gone with the request, so that
    // the sender repeats it, and no copy is kept for a second decoding here.
    if (error.code == Errc::conflict)
        return answer_of(problem_of({Errc::overloaded, "the definition of stream " + op.plan.stream +
                                                           " changed while this request was under way; nothing was "
                                                           "stored, send it again"}));
    return answer_of(problem_of(error));
}

Answer IngestDoor::unanswered(const IngestOperation& op) {
    if (op.with_shard) return unknown_outcome("the shard did not answer in 30 s");
    return answer_of(
        problem_of({Errc::overloaded, "this server could not begin with the events for stream " + op.plan.stream +
                                          " in 30 s; none was stored, send them again later"}));
}

void append_ingest_answer(std::string& out, std::string_view stream, const replica::IngestOutcome& outcome) {
    out += "{\"stream\":";
    append_json_string(out, stream);
    out += ",\"accepted\":";
    append_integer(out, outcome.accepted);
    out += ",\"duplicates\":";
    append_integer(out, outcome.duplicates);
    out += ",\"rejected\":";
    append_integer(out, outcome.rejected);
    out += ",\"errors\":[";
    const std::size_t errors = std::min(outcome.errors.size(), limits::answer_list_max);
    for (std::size_t i = 0; i < errors; ++i) {
        const replica::IngestError& e = outcome.errors[i];
        append_list_separator(out, i);
        out += "{\"index\":";
        append_integer(out, e.index);
        out += ",\"code\":";
        append_json_string(out, record::reject_name(e.reason));
        out += ",\"message\":";
        append_json_string(out, e.message);
        out += '}';
    }
    out += ']';
    if (outcome.errors_truncated || errors < outcome.errors.size()) out += ",\"errors_truncated\":true";
    out += ",\"duplicate_of\":[";
    const std::size_t duplicates = std::min(outcome.duplicate_of.size(), limits::answer_list_max);
    for (std::size_t i = 0; i < duplicates; ++i) {
        const replica::DuplicateOf& d = outcome.duplicate_of[i];
        append_list_separator(out, i);
        out += "{\"index\":";
        append_integer(out, d.index);
        out += ",\"partition\":";
        append_integer(out, d.partition);
        out += ",\"offset\":";
        append_integer(out, d.offset);
        out += '}';
    }
    out += ']';
    if (outcome.duplicate_of_truncated || duplicates < outcome.duplicate_of.size())
        out += ",\"duplicate_of_truncated\":true";
    out += ",\"partitions\":[";
    for (std::size_t i = 0; i < outcome.partitions.size(); ++i) {
        const replica::PartitionRange& p = outcome.partitions[i];
        append_list_separator(out, i);
        out += "{\"partition\":";
        append_integer(out, p.partition);
        out += ",\"base_offset\":";
        append_integer(out, p.base_offset);
        out += ",\"count\":";
        append_integer(out, p.count);
        out += '}';
    }
    out += "],\"applied_index\":\"";
    append_integer(out, outcome.shard.value);
    out += ':';
    out += std::to_string(outcome.applied_index.value);
    out += "\"}\n";
}

}  // namespace weir::http
