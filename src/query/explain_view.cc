// EXPLAIN VIEW: what a view stands at and why, from the tables that apply writes (apply/tables.h).
#include "query/catalog_reader.h"
#include "record/time.h"
#include "sql/statement.h"

#include <optional>
#include <utility>

namespace weir::query {
namespace {

using store::Value;
using Row = std::vector<Value>;

std::string counted(std::int64_t n, const std::string& what) {
    return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

std::optional<std::int64_t> time_of(const Value& value) {
    if (value.type != store::ValueType::integer) return std::nullopt;
    return value.integer;
}

// "17m39s": two units are enough for people; below a second "850ms".
std::string about(std::int64_t ms) {
    if (ms < 1000) return std::to_string(ms) + "ms";
    constexpr std::pair<std::int64_t, const char*> units[] = {{86'400, "d"}, {3'600, "h"}, {60, "m"}, {1, "s"}};
    std::int64_t seconds = ms / 1000;
    std::string text;
    for (int shown = 0; const auto& [size, unit] : units) {
        if (seconds < size || shown == 2) continue;
        text += std::to_string(seconds / size) + unit;
        seconds %= size;
        ++shown;
    }
    return text;
}

struct Watermark {
    std::int64_t partition = 0;
    std::optional<std::int64_t> at_ms, highest_ms;
    bool idle = false;
};

struct Windows {
    std::int64_t count = 0, groups = 0, final = 0;
    std::optional<std::int64_t> first_start_ms, first_end_ms;  // of the first that is not final
};

}  // namespace

Result<std::vector<std::string>> CatalogReader::explain_view(std::string_view name) {
    if (find(name) == nullptr || tables_.find(name)->second->kind != Kind::view) {
        TRY(Status(status_));
        return Error{Errc::not_found, "there is no view " + std::string(name)};
    }
    const Table& table = *tables_.find(name)->second;
    const Object& view = table.object;
    const record::Schema& schema = table.stream->schema;
    auto parsed = TRY(sql::parse(view.statement));
    const auto* create = std::get_if<sql::CreateView>(&parsed);
    if (create == nullptr) return Error{Errc::corrupt, "the definition of view " + view.name + " is not one of a view"};
    const std::string id = std::to_string(static_cast<std::int64_t>(view.id.packed()));

    std::vector<Watermark> watermarks;
    TRY(reader_.query_internal(
        "SELECT partition, watermark, max_event_time, idle FROM main._watermarks WHERE view = " + id + " ORDER BY 1",
        [&](const Row& row) {
            watermarks.push_back({row[0].integer, time_of(row[1]), time_of(row[2]), row[3].integer != 0});
        }));
    // The one that holds the others back: one without a watermark, else the lowest.
    const Watermark* least = nullptr;
    for (const Watermark& watermark : watermarks) {
        if (least == nullptr || (least->at_ms && (!watermark.at_ms || *watermark.at_ms < *least->at_ms)))
            least = &watermark;
    }
    const std::int64_t least_ms = least != nullptr && least->at_ms ? *least->at_ms : INT64_MIN;
    Windows windows;
    TRY(reader_.query_internal(
        "SELECT count(*), sum(groups), sum(window_end <= ?1), min(window_start) FILTER (WHERE window_end > ?1), "
        "min(window_end) FILTER (WHERE window_end > ?1) FROM main._windows WHERE view = " +
            id,
        [&](const Row& row) {
            windows = {row[0].integer, row[1].integer, row[2].integer, time_of(row[3]), time_of(row[4])};
        },
        {Value::of(least_ms)}));

    std::vector<std::string> lines;
    std::string head = view.name + ": " + view.state;
    if (view.state == "building") head += " (" + std::to_string(static_cast<int>(view.progress * 100)) + " %)";
    lines.push_back(head + ", over stream " + table.stream->name);
    lines.push_back("windows of " + record::format_duration(create->window_ms) + ", LATENESS " +
                    record::format_duration(create->lateness_ms) + ", EMIT " +
                    (create->emit == sql::EmitMode::final_only ? "FINAL" : "CHANGES") +
                    (create->emit_every_ms > 0 ? " EVERY " + record::format_duration(create->emit_every_ms) : ""));
    TRY(reader_.query_internal(
        "SELECT row_count, seen, filtered, windowed, late FROM main._views WHERE view = " + id, [&](const Row& row) {
            lines.push_back(counted(row[0].integer, "row") + "; seen " + std::to_string(row[1].integer) +
                            " = filtered " + std::to_string(row[2].integer) + " + windowed " +
                            std::to_string(row[3].integer) + " + late " + std::to_string(row[4].integer));
        }));
    lines.push_back("state: " + counted(windows.groups, "group") + " in " + counted(windows.count, "window") + ", " +
                    std::to_string(windows.final) + " of them final and kept for LATENESS");
    if (watermarks.empty()) {
        lines.push_back("no event yet: no watermark, no window");
        return lines;
    }
    const std::string delay = record::format_duration(schema.delay_ms);
    const auto shown = [](const std::optional<std::int64_t>& ms) { return ms ? record::format_rfc3339(*ms) : "none"; };
    lines.push_back("watermark: " + (least->at_ms ? shown(least->at_ms) : std::string("none yet")) + ", the least of " +
                    counted(static_cast<std::int64_t>(watermarks.size()), "partition") +
                    " (highest event time - DELAY " + delay + ")");
    for (const Watermark& watermark : watermarks) {
        lines.push_back("  partition " + std::to_string(watermark.partition) + ": watermark " + shown(watermark.at_ms) +
                        ", highest event time " + shown(watermark.highest_ms) + (watermark.idle ? ", idle" : ""));
    }
    if (!windows.first_start_ms) return lines;
    const std::string window = "the window " + shown(windows.first_start_ms) + " to " + shown(windows.first_end_ms);
    const std::string who = "partition " + std::to_string(least->partition);
    if (!least->at_ms) {
        lines.push_back(window + " is not final: " + who +
                        " has no record yet; a tick gives it the lowest watermark of the others 30 s after the "
                        "stream's first record");
    } else {
        lines.push_back(window + " is not final: " + who + " holds the watermark back, " +
                        about(*windows.first_end_ms - *least->at_ms) + " before its end");
        const std::string until = record::format_rfc3339(*windows.first_end_ms + schema.delay_ms);
        lines.push_back("  it becomes final with an event of " + until + " or later in " + who + ", or with FLUSH " +
                        view.name +
                        (schema.idle_after_ms > 0 ? ", or as time goes by once that is idle (IDLE AFTER " +
                                                        record::format_duration(schema.idle_after_ms) + ")"
                                                  : "; without IDLE AFTER a partition without events waits for ever"));
    }
    return lines;
}

}  // namespace weir::query
