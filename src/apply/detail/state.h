// What the applier keeps of a stream and of a view. Private to the room.
#pragma once

#include "apply/applier.h"
#include "apply/detail/ticks.h"
#include "record/json.h"
#include "stream/tumble.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace weir::apply {

// Runs counted to the buckets of another WITHIN.
void rebucket(std::vector<std::shared_ptr<const dedup::Run>>& runs, std::int64_t from_ms, std::int64_t to_ms);

struct Applier::Stream {
    record::StreamPtr def;
    std::string dir;
    std::vector<std::unique_ptr<log::PartitionLog>> partitions;
    std::unique_ptr<log::PartitionLog> dead;
    std::unique_ptr<log::Journal> journal;
    StreamCounters counters;
    std::vector<std::shared_ptr<const dedup::Run>> runs;
    std::uint64_t next_run = 1;
    std::int64_t expired_bucket = INT64_MIN;
    std::int64_t checkpoint_within_ms = 0;  // WITHIN, by which the runs of the checkpoint under way are bucketed
    std::map<std::int64_t, std::vector<dedup::RunEntry>> recent;  // by bucket, newer than the last checkpoint's runs
    std::vector<View*> views;
    Arrivals arrivals;
    std::int64_t last_tick_ms = INT64_MIN;
    std::int64_t told_due_ms = INT64_MAX;  // what stream_needs said last
    bool told_keep = false;
    record::JsonDecoder decoder;               // for what comes without columns
    bool touched = false;                      // since the last row commit
    bool changed = true;                       // since the last checkpoint
    std::set<PartitionNo> touched_partitions;  // since the last row commit

    log::PartitionLog& partition(PartitionNo p) {
        return p == dead_letter_partition ? *dead : *partitions.at(static_cast<std::size_t>(p));
    }
};

struct Applier::View {
    ObjectId id;
    ObjectId stream;
    std::string name;
    std::string statement;
    std::int64_t created_at_ms = 0;
    std::string state = "live";
    ViewPlan plan;
    std::unique_ptr<stream::Tumble> tumble;  // null: stopped and not loadable
    bool changed = true;                     // since the last checkpoint
    bool touched = false;                    // since the last row commit
    bool state_changed = false;              // `state`, since the last row commit
    std::unique_ptr<store::Statement> put_row, delete_row, put_late;
    std::shared_ptr<Build> build;  // until the entry "view live", stopped on the way or not
    bool stopped() const { return state.starts_with("stopped"); }
};

struct Applier::PendingLate {
    View* view = nullptr;
    PartitionNo partition = 0;
    std::int64_t offset = 0;
    std::int64_t window_start_ms = 0;
    std::int64_t event_time_ms = 0;
    std::string raw;
};

}  // namespace weir::apply
