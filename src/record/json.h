// JSON events to columns: one strict walk an event, no DOM, the payload's bytes untouched. Owner of a decoder: one
// thread.
//
// The first failure is the reason, in this order: too_large, then of malformed_json and too_deep whichever comes first
// in the bytes, not_an_object, bad_cloudevent (asked of BodyShape::cloudevents alone), missing_dedup_key,
// bad_event_time, future_event_time, then column by column as declared wrong_type or not_null, and last check_failed.
// The first of duplicate keys is read. null is the same as absent.
//
//   TEXT       a string; the token of a number or boolean as sent        BOOLEAN  true or false
//   INTEGER    an integer in int64, written without fraction or exponent JSON     anything, the token as sent
//   REAL       a number that is finite as a double                       BLOB     a string in standard base64 with
//   padding TIMESTAMP  a string in RFC 3339, or an integer of epoch ms; one below 10^11 in magnitude must be seconds:
//   refused
//
// A DEFAULT stands in for what is absent (before NOT NULL is tested). It is a literal here: catalogs evaluate the
// others once and for all (default_fault()); what is none counts as none. DEDUP KEY and EVENT TIME are asked of the
// event itself, whatever their DEFAULT.
#pragma once

#include "base/limits.h"
#include "base/result.h"
#include "record/columns.h"
#include "record/fingerprint.h"
#include "record/schema.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::record {

// Why an event is not stored, in the order in which the checks run.
enum class Reject : std::uint8_t {
    none,
    too_large,
    malformed_json,
    too_deep,
    not_an_object,
    bad_cloudevent,
    missing_dedup_key,
    bad_event_time,
    future_event_time,
    wrong_type,
    not_null,
    check_failed,
};
std::string_view reject_name(Reject reason);  // "malformed_json"

struct Rejection {
    std::uint32_t index = 0;  // position in the request, blank lines counted
    Reject reason = Reject::none;
    std::int32_t column = -1;  // which column, -1: none
    std::string message;       // for people, at most limits::dead_letter_message_bytes_max
    Slice raw;                 // the event's bytes in the body
};

// The good events of one request. Row i of everything is the i-th good event.
struct DecodedEvents {
    ColumnBatch columns;
    std::vector<Slice> raw;                // the event's bytes in the body (JSON text; NDJSON: the line without CR)
    std::vector<std::uint32_t> index;      // position in the request
    std::vector<Fingerprint> fingerprint;  // of the dedup key; has_key() false: no dedup for this event
    // From the key's text below; an event without a key has -1: admission picks one partition for the whole batch.
    std::vector<std::int32_t> partition;
    // The record key, into columns.bytes: the text of the BY column, where that is null or not declared the text of the
    // dedup key (several columns joined by '|'); size 0: none. TEXT, JSON and BLOB are their own text, INTEGER and REAL
    // the shortest decimal, BOOLEAN true or false, TIMESTAMP RFC 3339 as shown.
    std::vector<Slice> key;
    std::vector<Rejection> rejected;
    std::uint32_t lines = 0;  // events and rejected together
    // The body holds more than JsonDecoder::events_max events, or its columns are out of all proportion: nothing is
    // taken of it, and the one rejection (too_large) is the whole body. A door that can refuse it should answer 413.
    bool too_many = false;
    void reset(const Schema& schema);
};

// json: one object, or an array of events; cloudevents: the same, and each must be a CloudEvent 1.0.
enum class BodyShape : std::uint8_t { json, ndjson, cloudevents };

// Row-wise test of CHECK expressions over columns; store::Expression implements it (record/ knows no SQL).
class ColumnCheck {
  public:
    virtual ~ColumnCheck() = default;
    // For each row in [0, batch.rows): failed[row] = index of the first column whose CHECK is false, else -1. `failed`
    // comes with that size, all -1. An error makes all rows check_failed.
    virtual Status evaluate(const ColumnBatch& batch, std::vector<std::int32_t>& failed) = 0;
};

// Whether `text` is UTF-8 (RFC 3629).
bool is_utf8(std::string_view text);

// Why the literal (42, -1.5, 'text', x'00ff', TRUE) is no DEFAULT of a column of this type, for people; empty: it is
// one.
std::string default_fault(ColumnType type, std::string_view literal);

// Why `text` is not one JSON value as an event's members are read; nullopt: it is one. White space around it is taken.
// `text` needs 16 readable bytes behind it.
struct JsonFault {
    Reject reason = Reject::malformed_json;  // or too_deep
    std::string message;
};
std::optional<JsonFault> json_fault(std::string_view text);

class JsonDecoder {
  public:
    JsonDecoder();
    ~JsonDecoder();

    // Decodes `body` (size bytes of a buffer that has at least size + padding_bytes readable bytes) into `out`, which
    // it resets first. `now_ms` is the append clock, for future_event_time. `check` may be null (no CHECK in the
    // schema). `hash_key` keys the fingerprints. Never fails: what is wrong with an event is a Rejection. `json`: an
    // object is one event, an array a batch (`index` is the element's); a body that is not JSON as a whole is one
    // rejection with the whole body. `ndjson`: cut at LF first; blank lines, a CR before the LF and a byte order mark
    // in front are skipped, blank lines counted in `index`.
    // Cost: about 260 ns for an event of 260 bytes and 8 columns; a request costs 150 ns beside its events.
    void decode(const Schema& schema, BodyShape shape, std::string_view body, std::int64_t now_ms,
                const FingerprintKey& hash_key, ColumnCheck* check, DecodedEvents& out);

    // A body that never becomes an event: one rejection of all of it. `message` is cut to its limit.
    static void refuse(const Schema& schema, std::string_view body, Reject reason, std::string message,
                       DecodedEvents& out);

    // One stored event to one row appended to `out`, which was reset for the schema (replay, scans): no checks, what
    // cannot be read is null. `want[c]` false: the column is left null without being looked for; empty = all. The event
    // time is read in any case and falls back to `append_time_ms`. `event` needs padding_bytes readable bytes behind
    // it. The schema object must not change between calls.
    void decode_stored(const Schema& schema, std::string_view event, std::int64_t append_time_ms,
                       const std::vector<bool>& want, ColumnBatch& out);

    static constexpr std::size_t padding_bytes = 64;
    // In one request: what a body of one-byte lines would make of memory is 100 times the body.
    static constexpr std::size_t events_max = limits::events_per_request_max;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace weir::record
