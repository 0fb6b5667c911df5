// `weir tail`: the events of a stream as they were sent, from a place on, once or as they come.
#pragma once

#include "node/client.h"
#include "node/console.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::node {

enum class TailFormat : std::uint8_t { raw, json, pretty };
Result<TailFormat> parse_tail_format(std::string_view text);  // invalid_argument

constexpr std::int64_t tail_last_max = 10'000;  // events that the server looks back from the end

struct TailOptions {
    std::string stream{};
    std::string from{};       // "" the last `count`; beginning, end, a cursor, a time, or an age such as 5m
    std::int64_t count = -1;  // events to print; -1: 10 without `from`, all that there are with it
    bool follow = false;
    std::string where{};  // a SQL expression; "" all events
    TailFormat format = TailFormat::raw;
    int stop_fd = -1;  // readable when the user wants to stop; -1 none
};

struct TailEvent {
    std::string cursor;
    std::int64_t partition = 0;
    std::int64_t offset = 0;
    std::string append_time;  // as the server writes it
    std::string value;        // the event's bytes
};
struct TailPage {
    std::vector<TailEvent> events;
    std::string next;  // cursor to go on from
    bool at_end = false;
    bool is_skipped = false;    // retention took events behind the cursor
    std::int64_t skipped = -1;  // how many; -1: nobody can say
};
// One of them, as a stream of events has it too. Errors: corrupt.
Result<TailEvent> parse_tail_event(std::string_view text);
// The body of GET /v1/streams/{s}/events. Errors: corrupt (not what the server promises).
Result<TailPage> parse_tail_page(std::string_view body);

// Whether `--from` may say so: beginning, end, a cursor, a time, or an age.
bool is_from(std::string_view text);

// "5m" and "-5m" become the time so long before `now_ms`; all else stays.
std::string resolve_from(std::string_view from, std::int64_t now_ms);

// A name that is a view's gets told how to read a view.
//
// 0 also when it is stopped by Ctrl-C or the reader of its output goes away: that is how a tail ends.
Exit run_tail(const Console& console, Client& client, const TailOptions& options);

}  // namespace weir::node
