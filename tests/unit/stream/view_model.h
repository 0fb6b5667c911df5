// What a view must show, computed the slow way: every accepted row is kept, and a row of the table is made of them.
// Shares no code with the operator.
#pragma once

#include "unit/stream/tumble_fixture.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace weir::stream {

// window_start, status | count(*), count(DISTINCT path), count(DISTINCT bytes % 8), first(path), last(bytes),
// sum(price), min(bytes)
inline TumblePlan model_plan() {
    TumblePlan plan;
    plan.size_ms = 1000;
    plan.partitions = 3;
    plan.keys = {{TumbleKey::Kind::window_start, {}}, {TumbleKey::Kind::input, {0, ""}}};
    plan.aggregates = {{Aggregate::count_star, {}},
                       {Aggregate::count_distinct, {3, ""}},
                       {Aggregate::count_distinct, {-1, "bytes % 8"}},
                       {Aggregate::first, {3, ""}},
                       {Aggregate::last, {1, ""}},
                       {Aggregate::sum, {2, ""}},
                       {Aggregate::min, {1, ""}}};
    return plan;
}
constexpr const char* model_having = "_r2 % 3 <> 1 AND (_r6 IS NULL OR _r6 % 5 > 0)";

// "window,status" of a row.
inline std::string group_of(const std::string& row) {
    return row.substr(0, row.find(',', row.find(',') + 1));
}

class ViewModel {
  public:
    explicit ViewModel(TumblePlan plan) : plan_(std::move(plan)) {}

    // An event of the log in order, with its offset in its partition.
    void add(const Event& event, std::int64_t offset, std::int64_t append_ms) {
        std::int64_t& high = highest_[event.partition];
        const bool any = seen_.contains(event.partition);
        std::int64_t start = event.time_ms - plan_.offset_ms;
        start = start - ((start % plan_.size_ms) + plan_.size_ms) % plan_.size_ms + plan_.offset_ms;
        const std::int64_t watermark = any ? high - plan_.delay_ms : INT64_MIN;
        if (any && start + plan_.size_ms + plan_.lateness_ms <= watermark) {
            ++late;
        } else {
            Row row{event, offset, append_ms, any && start + plan_.size_ms <= watermark};
            groups_[{start, event.values[0].type == store::ValueType::null ? INT64_MIN : event.values[0].integer}]
                .push_back(row);
        }
        high = any ? std::max(high, event.time_ms) : event.time_ms;
        seen_.insert(event.partition);
        last_append_ms_ = append_ms;
    }

    // The table at the end of the log.
    std::string rows() const {
        std::string out;
        const std::int64_t least = least_watermark();
        for (const auto& [key, all] : groups_) {
            std::vector<Row> rows = all;
            const std::int64_t end = key.first + plan_.size_ms;
            if (plan_.emit == Emit::final_rows && end > least) continue;
            const bool is_closed = end + plan_.lateness_ms <= least;
            if (plan_.emit_every_ms > 0 && !is_closed) {
                const std::int64_t cut = last_append_ms_ - last_append_ms_ % plan_.emit_every_ms;
                std::erase_if(rows, [&](const Row& row) { return row.append_ms >= cut; });
            }
            const std::string text = row_of(key, rows);
            if (!text.empty()) out += (out.empty() ? "" : " | ") + text;
        }
        return out;
    }

    // EMIT FINAL: what the rows of final windows are when they come first, by group.
    std::map<std::string, std::string> first_rows() const {
        std::map<std::string, std::string> out;
        for (const auto& [key, all] : groups_) {
            if (key.first + plan_.size_ms > least_watermark()) continue;
            std::vector<Row> rows = all;
            std::erase_if(rows, [](const Row& row) { return row.after_end; });
            const std::string text = row_of(key, rows);
            if (!text.empty()) out[group_of(text)] = text;
        }
        return out;
    }

    std::uint64_t late = 0;

  private:
    struct Row {
        Event event;
        std::int64_t offset = 0;
        std::int64_t append_ms = 0;
        bool after_end = false;  // its partition's watermark had passed the window's end
    };
    using Key = std::pair<std::int64_t, std::int64_t>;  // window, status (INT64_MIN: NULL)

    std::int64_t least_watermark() const {
        if (seen_.size() < static_cast<std::size_t>(plan_.partitions)) return INT64_MIN;
        std::int64_t least = INT64_MAX;
        for (const auto& [p, high] : highest_)
            least = std::min(least, high - plan_.delay_ms);
        return least;
    }

    // Empty: HAVING does not let it pass, or it has no rows.
    std::string row_of(const Key& key, std::vector<Row> rows) const {
        if (rows.empty()) return {};
        std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
            return std::tie(a.event.time_ms, a.event.partition, a.offset) <
                   std::tie(b.event.time_ms, b.event.partition, b.offset);
        });
        std::set<std::string> paths;
        std::set<std::int64_t> remainders;
        Value first = Value::null(), last = Value::null(), least = Value::null();
        for (const Row& row : rows) {
            const Value& bytes = row.event.values[1];
            const Value& path = row.event.values[3];
            if (path.type != store::ValueType::null) {
                paths.insert(std::string(path.text));
                if (first.type == store::ValueType::null) first = path;
            }
            if (bytes.type == store::ValueType::null) continue;
            remainders.insert(bytes.integer % 8);
            last = bytes;
            if (least.type == store::ValueType::null || bytes.integer < least.integer) least = bytes;
        }
        if (plan_.having_sql == model_having) {
            const bool passes = rows.size() % 3 != 1 && (last.type == store::ValueType::null || last.integer % 5 > 0);
            if (!passes) return {};
        }
        return std::to_string(key.first) + "," + (key.second == INT64_MIN ? "null" : std::to_string(key.second)) + "," +
               std::to_string(rows.size()) + "," + std::to_string(paths.size()) + "," +
               std::to_string(remainders.size()) + "," + show(first) + "," + show(last) + "," + show(sum(rows)) + "," +
               show(least);
    }

    // REALs add in the order of the log in each partition, rows that came in time before those that did not, and the
    // partitions' sums in the order of partitions.
    Value sum(const std::vector<Row>& sorted) const {
        double total = 0;
        bool any = false;
        for (PartitionNo p = 0; p < plan_.partitions; ++p) {
            std::vector<Row> rows;
            for (const Row& row : sorted) {
                if (row.event.partition == p) rows.push_back(row);
            }
            std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.offset < b.offset; });
            double in_time = 0, after = 0;
            const bool split = plan_.emit == Emit::final_rows && plan_.lateness_ms > 0 && plan_.partitions > 1;
            for (const Row& row : rows) {
                if (row.event.values[2].type == store::ValueType::null) continue;
                any = true;
                (split && row.after_end ? after : in_time) += row.event.values[2].real;
            }
            total += in_time + after;
        }
        return any ? Value::of(total) : Value::null();
    }

    TumblePlan plan_;
    std::map<Key, std::vector<Row>> groups_;
    std::map<PartitionNo, std::int64_t> highest_;
    std::set<PartitionNo> seen_;
    std::int64_t last_append_ms_ = 0;
};

}  // namespace weir::stream
