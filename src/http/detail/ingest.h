// The way of an event through this door: body -> inflated -> decoded -> the shard's inbox; and the shard's outcome
// -> answer. Blocks nowhere. Large bodies are inflated and decoded on a thread of their own (decode_thread.h), which
// has its own IngestDoor.
// Owner: the loop; the other one's: the decode thread.
#pragma once

#include "cluster/catalog.h"
#include "http/detail/mailbox.h"
#include "http/detail/parser.h"
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

// What a request's head says about its body.
struct IngestPlan {
    std::string stream;
    std::string content_type;                // as sent; kept with dead letters
    std::optional<record::BodyShape> shape;  // nullopt: the first byte decides
    bool gzip = false;
};

// Errors (415, 400) that the head alone shows; nullopt: the plan is good. Aliases of NDJSON and what counts as "no
// type": see the table in ingest.cc.
std::optional<Problem> plan_ingest(const RequestHead& head, std::string stream, IngestPlan& plan);

// Where a body of no stated type begins: '{' or '[' behind spaces and a BOM.
bool looks_like_json(std::string_view body);
// Why a body that was read as one JSON text is refused although it may be good NDJSON; empty: no such sign.
std::string_view json_hint(std::string_view body);

// One request in flight; its connection holds it.
struct IngestOperation {
    IngestPlan plan;
    std::string body;  // until it moves to the shard
    record::BodyShape shape = record::BodyShape::json;
    std::size_t held_bytes = 0;                     // what counts as in flight until the answer
    record::StreamPtr stream;                       // once found or made
    std::optional<replica::IngestRequest> request;  // decoded, for hand_over()
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

// The answer's body, as the contract has it.
void append_ingest_answer(std::string& out, std::string_view stream, const replica::IngestOutcome& outcome);

}  // namespace weir::http
