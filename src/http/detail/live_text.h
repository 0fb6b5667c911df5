// What tails send, as text: events and rows as JSON, server-sent events around it.
//
// A server-sent event (WHATWG HTML, 9.2) is lines of `field: value` and an empty line. Its `id` is what a client sends
// back as Last-Event-ID when it connects again: here the place to go on from, which is behind the event.
// Pure functions; any thread.
#pragma once

#include "query/events.h"
#include "query/pool.h"

#include <string>
#include <string_view>
#include <vector>

namespace weir::http {

// {"cursor":..,"partition":..,"offset":..,"append_time":..,"value":..}, as in GET events. The value is the event's
// bytes.
void append_event(std::string& out, const query::Event& event);

// {"key":"0a..","row":{..}}; without values "row" is null: the row is gone.
void append_view_row(std::string& out, const std::vector<query::QueryColumn>& columns, std::string_view key,
                     const std::vector<store::Value>* values);

// `event` and `id` are left out where they are empty. A line break in the data ends a `data:` line; a reader puts LF
// back, so that JSON stays the same JSON (outside of strings, where it may hold breaks).
void append_sse(std::string& out, std::string_view event, std::string_view id, std::string_view data);
// Nothing that a reader shows: tells it where it stands, and the connection that it is alive.
void append_sse_beat(std::string& out, std::string_view id);

// A point of a metric: the shortest text that is the same float; null where it is missing.
void append_point(std::string& out, float value);

// One chunk of a chunked body.
void append_chunk(std::string& out, std::string_view bytes);

}  // namespace weir::http
