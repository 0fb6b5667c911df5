// The way of an event through this door: body -> inflated -> decoded -> the shard's inbox; and the shard's outcome
// -> answer. Everything here runs on the loop and blocks nowhere.
// Owner: the loop.
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
    std::string kept;  // a copy of a small body, for when the definition changes meanwhile
    record::BodyShape shape = record::BodyShape::json;
    std::size_t held_bytes = 0;  // what counts as in flight until the answer
    int attempts = 0;
};

enum class IngestStep : std::uint8_t {
    answered,      // `answer` is set
    with_shard,    // IngestDone will come
    wants_stream,  // have the catalog make it, then with_stream()
};

class IngestDoor {
  public:
    IngestDoor(const ServerOptions& options, ServerParts parts, std::shared_ptr<Mailbox> mailbox);

    IngestStep begin(IngestOperation& op, ConnectionId connection, Answer& answer);  // the body is whole
    IngestStep with_stream(IngestOperation& op, ConnectionId connection, Result<record::StreamPtr> stream,
                           Answer& answer);
    IngestStep finish(IngestOperation& op, ConnectionId connection, replica::IngestOutcome&& outcome, Answer& answer);

  private:
    struct Checks {
        record::StreamPtr stream;  // keeps the schema that `check` refers to
        std::unique_ptr<record::ColumnCheck> check;
    };
    IngestStep find_stream(IngestOperation& op, ConnectionId connection, Answer& answer);
    IngestStep submit(IngestOperation& op, ConnectionId connection, record::StreamPtr stream, Answer& answer);
    Result<record::ColumnCheck*> checks_of(const record::StreamPtr& stream);

    const ServerOptions& options_;
    ServerParts parts_;
    std::shared_ptr<Mailbox> mailbox_;
    record::JsonDecoder decoder_;
    std::unordered_map<std::uint64_t, Checks> checks_;  // by packed id
    obs::Counter bytes_;
};

// The answer's body, as the contract has it.
void append_ingest_answer(std::string& out, std::string_view stream, const replica::IngestOutcome& outcome);

}  // namespace weir::http
