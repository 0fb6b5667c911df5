#include "http/detail/ingest.h"

#include "base/check.h"
#include "base/limits.h"
#include "base/wire.h"
#include "http/detail/json_text.h"
#include "record/inflate.h"
#include "sql/statement.h"
#include "store/expression.h"

#include <algorithm>
#include <array>
#include <utility>

namespace weir::http {
namespace {

constexpr std::uint8_t kept_answer_version = 1;
constexpr std::size_t checks_max = 1024;  // compiled CHECKs kept; above: all are compiled again

Answer unknown_outcome(std::string detail) {
    detail += detail.empty() ? "" : "; ";
    detail += "part or all of it may be stored: send it again where DEDUP or an Idempotency-Key covers it";
    return answer_of(problem_of({Errc::timed_out, std::move(detail)}));
}

// The answer to what was taken: everything that is not an error.
Answer answer_to(std::string_view stream, const replica::IngestOutcome& outcome) {
    Answer answer;
    const bool kept_any = outcome.accepted > 0 || outcome.duplicates > 0;
    answer.status = kept_any || outcome.rejected == 0 ? 200 : 400;
    append_ingest_answer(answer.body, stream, outcome);
    return answer;
}

Answer key_in_use() {
    Problem p;
    p.status = 409;
    p.code = "idempotency_key_in_use";
    p.detail = "a request with this Idempotency-Key is under way; ask again for its answer";
    p.retry_after_s = retry_after_s(1);
    p.retryable = true;
    return answer_of(p);
}

Answer not_inflated(Error error, const char* coding) {
    if (error.code == Errc::too_large)
        error.detail = "Content-Encoding: " + error.detail +
                       "; a body may have 64 MiB inflated, and a zstd window 8 MiB: split it";
    else
        error.detail = std::string("Content-Encoding is ") + coding + ", and the body is not: " + error.detail;
    return answer_of(problem_of(error));
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
    if (op.plan.coding != Coding::identity && !op.body.empty()) {
        // What a compressed body says about its size is not to be trusted: try, and begin again elsewhere.
        const std::size_t bytes_max = std::min(here_bytes_max_, limits::body_bytes_max);
        const bool gzip = op.plan.coding == Coding::gzip;
        auto inflated = gzip ? record::gunzip(op.body, bytes_max) : record::unzstd(op.body, bytes_max);
        if (!inflated) {
            if (inflated.error().code == Errc::too_large && bytes_max < limits::body_bytes_max)
                return IngestStep::wants_thread;
            answer = not_inflated(std::move(inflated).error(), gzip ? "gzip" : "zstd");
            return IngestStep::answered;
        }
        op.body = std::move(inflated).value();
    }
    if (!op.plan.cloud_front.empty()) {
        make_event(op);
    } else if (op.plan.shape) {
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

// A CloudEvent in the binary mode: from here on its body is the whole event.
void IngestDoor::make_event(IngestOperation& op) {
    op.shape = record::BodyShape::cloudevents;
    const CloudDataKind said = cloud_data_of(op.plan.content_type);
    const bool json = said.kind ? *said.kind == CloudData::json : looks_like_json(op.body);
    const CloudData kind = json ? CloudData::json : said.kind.value_or(said.otherwise);
    // curl's form type in front of JSON is no statement of the sender's.
    const std::string_view type = json && !said.kind ? std::string_view() : std::string_view(op.plan.content_type);
    CloudEvent made = make_cloud_event(op.plan.cloud_front, trimmed(type), kind, op.body);
    op.refused = made.reason;
    op.refused_message = std::move(made.message);
    if (op.refused == record::Reject::none) op.body = std::move(made.event);
}

IngestStep IngestDoor::find_stream(IngestOperation& op, Answer& answer) {
    const bool names_known = parts_.catalog.home().ready();  // asked before the snapshot: it holds them all then
    const auto snapshot = parts_.catalog.snapshot();
    const auto found = snapshot->streams.find(op.plan.stream);
    if (found != snapshot->streams.end()) return with_stream(op, found->second, answer);
    if (!options_.undeclared_streams) {
        if (!names_known) {
            answer = answer_of(problem_of({Errc::recovering,
                                           "this node is still applying what was committed before it started; nothing "
                                           "was stored, send it again in a moment"}));
            return IngestStep::answered;
        }
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
    if (op.refused != record::Reject::none)
        record::JsonDecoder::refuse(stream->schema, op.body, op.refused, op.refused_message, *events);
    else
        decoder_.decode(stream->schema, op.shape, op.body, shard.append_clock_ms(), shard.fingerprint_key(),
                        check.value(), *events);
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
    if (!op.plan.key.empty()) request.key = key_of(op, shard);
    request.stream = stream;
    request.body = std::move(op.body);
    request.events = std::move(events);
    request.content_type = op.plan.content_type;
    return IngestStep::decoded;
}

// The key is one of its stream and principal: nobody reads another's answers by guessing.
std::unique_ptr<replica::RequestKey> IngestDoor::key_of(IngestOperation& op, replica::ShardPort& shard) {
    const record::FingerprintKey hash_key = shard.fingerprint_key();
    op.body_print = record::fingerprint(hash_key, op.body);
    std::string scope;
    WireWriter out(scope);
    out.u64(op.stream->id.packed());
    out.bytes(op.plan.principal);
    out.bytes(op.plan.key);
    auto key = std::make_unique<replica::RequestKey>();
    key->id = record::fingerprint(hash_key, scope);
    key->answer = [stream = op.plan.stream, print = op.body_print](const replica::IngestOutcome& outcome) {
        return encode_kept_answer(answer_to(stream, outcome), print);
    };
    return key;
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
    if (outcome.in_progress) return key_in_use();
    if (outcome.status) return answer_to(op.plan.stream, outcome);
    const Error& error = outcome.status.error();
    if (error.code == Errc::timed_out) return unknown_outcome(error.detail);
    return answer_of(problem_of(error));
}

Answer IngestDoor::unanswered(const IngestOperation& op) {
    if (op.with_shard) return unknown_outcome("the shard did not answer in 30 s");
    return answer_of(
        problem_of({Errc::overloaded, "this server could not begin with the events for stream " + op.plan.stream +
                                          " in 30 s; none was stored, send them again later"}));
}

std::string encode_kept_answer(const Answer& answer, const record::Fingerprint& body_print) {
    std::string bytes;
    WireWriter out(bytes);
    out.u8(kept_answer_version);
    out.u16(static_cast<std::uint16_t>(answer.status));
    out.u64(body_print.hi);
    out.u64(body_print.lo);
    bytes += answer.body;
    return bytes;
}

Answer replayed_answer(const Result<std::string>& kept, const record::Fingerprint& body_print) {
    Error unreadable{Errc::overloaded, "the answer under this Idempotency-Key cannot be read now: ask again later"};
    if (!kept) {
        unreadable.detail += "; " + kept.error().detail;
        return answer_of(problem_of(unreadable));
    }
    WireReader in(kept.value());
    const auto version = in.u8();
    const auto status = in.u16();
    record::Fingerprint print;
    print.hi = in.u64();
    print.lo = in.u64();
    const std::string_view body = in.take(in.left());
    if (!in.ok() || version != kept_answer_version) {
        unreadable.detail += "; it was kept by another version";
        return answer_of(problem_of(unreadable));
    }
    if (print != body_print) {
        Problem p;
        p.status = 422;
        p.code = "idempotency_key_reused";
        p.detail = "this Idempotency-Key belongs to another body; nothing was stored: take a new key for a new request";
        return answer_of(p);
    }
    Answer answer;
    answer.status = status;
    answer.headers = "Idempotency-Replayed: true\r\n";
    answer.body = body;
    return answer;
}

void append_ingest_answer(std::string& out, std::string_view stream, const replica::IngestOutcome& outcome) {
    out += '{';
    append_member(out, "stream", stream);
    append_member(out, "accepted", outcome.accepted);
    append_member(out, "duplicates", outcome.duplicates);
    append_member(out, "rejected", outcome.rejected);
    out += ",\"errors\":[";
    const std::size_t errors = std::min(outcome.errors.size(), limits::answer_list_max);
    for (std::size_t i = 0; i < errors; ++i) {
        const replica::IngestError& e = outcome.errors[i];
        append_comma(out);
        out += '{';
        append_member(out, "index", e.index);
        append_member(out, "code", record::reject_name(e.reason));
        append_member(out, "message", e.message);
        out += '}';
    }
    out += ']';
    if (outcome.errors_truncated || errors < outcome.errors.size()) out += ",\"errors_truncated\":true";
    out += ",\"duplicate_of\":[";
    const std::size_t duplicates = std::min(outcome.duplicate_of.size(), limits::answer_list_max);
    for (std::size_t i = 0; i < duplicates; ++i) {
        const replica::DuplicateOf& d = outcome.duplicate_of[i];
        append_comma(out);
        out += '{';
        append_member(out, "index", d.index);
        append_member(out, "partition", d.partition);
        append_member(out, "offset", d.offset);
        out += '}';
    }
    out += ']';
    if (outcome.duplicate_of_truncated || duplicates < outcome.duplicate_of.size())
        out += ",\"duplicate_of_truncated\":true";
    out += ",\"partitions\":[";
    for (const replica::PartitionRange& p : outcome.partitions) {
        append_comma(out);
        out += '{';
        append_member(out, "partition", p.partition);
        append_member(out, "base_offset", p.base_offset);
        append_member(out, "count", p.count);
        out += '}';
    }
    out += "],\"applied_index\":\"";
    append_integer(out, outcome.shard.value);
    out += ':';
    out += std::to_string(outcome.applied_index.value);
    out += "\"}\n";
}

}  // namespace weir::http
