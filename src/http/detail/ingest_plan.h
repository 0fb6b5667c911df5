// What the head of a request with events says about its body, before the body is there. Pure functions; any thread.
#pragma once

#include "http/detail/cloud_event.h"
#include "http/detail/media_type.h"
#include "http/detail/parser.h"
#include "http/detail/problem.h"
#include "record/json.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::http {

struct IngestPlan {
    std::string stream;
    std::string content_type;                // as sent; kept with dead letters
    std::optional<record::BodyShape> shape;  // nullopt: the first byte decides
    Coding coding = Coding::identity;
    std::string key;          // Idempotency-Key; empty: there is none
    std::string principal;    // whose key it is; empty where there are no API keys
    std::string cloud_front;  // of an event in the binary mode (cloud_event.h); empty: there is none
    bool is_cloud_event() const { return !cloud_front.empty() || shape == record::BodyShape::cloudevents; }
};

// Errors (415, 400) that the head alone shows; nullopt: the plan is good. Aliases of NDJSON and what counts as "no
// type": see the table in ingest_plan.cc.
std::optional<Problem> plan_ingest(const RequestHead& head, std::string stream, IngestPlan& plan);

// The answer to a sender that asks, before it sends, whether it may (HTTP 1.1 Web Hooks for Event Delivery, 4): any
// may, at any rate. `allow`: the methods of the address.
Answer webhook_consent(std::string_view allow);

// The refusal of a Content-Type, with the list of what is taken. `type` empty: there is none.
Problem unsupported_type(std::string_view type);

// Where a body of no stated type begins: '{' or '[' behind spaces and a BOM.
bool looks_like_json(std::string_view body);
// Why a body that was read as one JSON text is refused although it may be good NDJSON; empty: no such sign.
std::string_view json_hint(std::string_view body);

}  // namespace weir::http
