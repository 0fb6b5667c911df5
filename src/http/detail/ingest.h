// The way of an event through this door: body -> inflated -> decoded -> the shard's inbox; and the shard's outcome
// -> answer. Blocks nowhere. Large bodies are inflated and decoded on a thread of their own (decode_thread.h), which
// has its own IngestDoor.
// Owner: the loop; the other one's: the decode thread.
#pragma once

#include "cluster/catalog.h"
#include "http/detail/ingest_plan.h"
#include "http/detail/mailbox.h"
#include "http/detail/problem.h"
#include "http/server.h"
#include "record/json.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

namespace weir::http {

// One request in flight; its connection holds it.
struct IngestOperation {
    IngestPlan plan;
    std::string body;  // until it moves to the shard
    record::BodyShape shape = record::BodyShape::json;
    // The body is refused as it is, whatever the stream: the data of a CloudEvent that cannot be such.
    record::Reject refused = record::Reject::none;
    std::string refused_message = {};
    std::size_t held_bytes = 0;                     // what counts as in flight until the answer
    record::StreamPtr stream;                       // once found or made
    std::optional<replica::IngestRequest> request;  // decoded, for hand_over()
    record::Fingerprint body_print;                 // of the body, where the request has a key
    bool counted = false;                           // in the metric of bytes
    bool with_shard = false;  // taken by the shard: from here on only its outcome says what was stored
};

enum class IngestStep : std::uint8_t {
    answered,      // `answer` is set
    decoded,       // hand_over() is next, on the loop
    with_shard,    // IngestDone will come
    wants_thread,  // too large for here: begin(), or decode() if op.stream is set, on the decode thread
    wants_stream,  // have the catalog make it, then with_stream()
};

class IngestDoor {
  public:
    // Bodies of more than `here_bytes_max`, inflated, are for another thread.
    IngestDoor(const ServerOptions& options, ServerParts parts, std::shared_ptr<Mailbox> mailbox,
               std::size_t here_bytes_max);

    IngestStep begin(IngestOperation& op, Answer& answer);  // the body is whole
    IngestStep with_stream(IngestOperation& op, Result<record::StreamPtr> stream, Answer& answer);
    IngestStep decode(IngestOperation& op, Answer& answer);  // op.stream is set
    IngestStep hand_over(IngestOperation& op, ConnectionId connection, Answer& answer);
    static Answer finish(const IngestOperation& op, const replica::IngestOutcome& outcome);
    // What to say when nobody has answered for too long: outcome_unknown once the shard has the events, before that
    // overloaded.
    static Answer unanswered(const IngestOperation& op);

  private:
    struct Checks {
        record::StreamPtr stream;  // keeps the schema that `check` refers to
        std::unique_ptr<record::ColumnCheck> check;
    };
    static void make_event(IngestOperation& op);
    static std::unique_ptr<replica::RequestKey> key_of(IngestOperation& op, replica::ShardPort& shard);
    IngestStep find_stream(IngestOperation& op, Answer& answer);
    Result<record::ColumnCheck*> checks_of(const record::StreamPtr& stream);

    const ServerOptions& options_;
    ServerParts parts_;
    std::shared_ptr<Mailbox> mailbox_;
    std::size_t here_bytes_max_;
    record::JsonDecoder decoder_;
    std::unordered_map<std::uint64_t, Checks> checks_;  // by packed id
    obs::Counter bytes_;
};

// What is kept of an answer under its Idempotency-Key, and how a retry reads it:
//   version u8 = 1 | status u16 | fingerprint of the body that it answers, hi u64 | lo u64 | the answer's body
std::string encode_kept_answer(const Answer& answer, const record::Fingerprint& body_print);
// The answer once more, with Idempotency-Replayed; 422 where `body_print` is of another body; 503 where `kept` is an
// error, as the first answer stands and can be read later.
Answer replayed_answer(const Result<std::string>& kept, const record::Fingerprint& body_print);

// The answer's body, as the contract has it.
void append_ingest_answer(std::string& out, std::string_view stream, const replica::IngestOutcome& outcome);

}  // namespace weir::http
