// One shard's applier in a temporary folder: entries in, tables and files out; crashes between.
#pragma once

#include "apply/applier.h"
#include "apply/tables.h"
#include "os/clock.h"
#include "os/real_disk.h"
#include "record/batch.h"
#include "store/database.h"
#include "support/entry_buffer.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <bit>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace weir::apply {

inline constexpr const char* stream_sql =
    "CREATE STREAM s (id TEXT, n INTEGER, ts TIMESTAMP, EVENT TIME ts, DEDUP KEY (id) WITHIN 1h) PARTITIONS 2";
inline constexpr const char* view_sql =
    "CREATE MATERIALIZED VIEW v AS SELECT window_start, count(*) AS c, sum(n) AS total FROM TUMBLE(s, 1m) GROUP BY "
    "window_start "
    "LATENESS 0s EMIT CHANGES";

// One shard in a temporary folder; SQLite and segments real, the state store in memory and kept over restarts.
struct Bench {
    test::TempDir dir;
    std::unique_ptr<os::Disk> disk = os::make_real_disk();
    os::SimClock clock;
    std::unique_ptr<stream::StateStore> state = stream::make_memory_store();
    std::function<void(ApplyOptions&)> tune;  // what a test wants otherwise
    std::unique_ptr<Applier> applier;
    std::shared_ptr<const Definitions> definitions;
    std::vector<StreamFacts> recovered;
    std::vector<StreamFacts> defined;
    std::vector<StreamFacts> adopted;
    std::vector<ObjectId> dropped;
    std::vector<CheckpointJob> jobs;
    std::vector<LogIndex> checkpointed;
    std::vector<std::string> entries;            // bytes by index - 1
    std::int64_t append_ms = 1'699'999'999'000;  // of the last entry
    std::int64_t step_ms = 1000;                 // to the next one
    std::vector<Status> answers;
    std::map<ObjectId, std::pair<std::int64_t, bool>> needs;  // tick due, keep the log
    std::vector<ObjectId> caught_up;                          // views

    explicit Bench(std::function<void(ApplyOptions&)> tuning = {}) : tune(std::move(tuning)) { open(); }
    std::string shard() const { return dir.path() + "/shard"; }
    Status try_open(LogIndex last_at_start) {
        applier.reset();
        jobs.clear();
        ApplyOptions options;
        options.dir = shard();
        options.wal_dir = dir.path() + "/wal";
        options.partition.segment_bytes = 4096;
        options.partition.index_interval = 256;
        options.last_at_start = last_at_start;
        options.unlink_after_us = 1'000'000;
        if (tune) tune(options);
        applier = TRY(Applier::open(
            options, *disk, clock, *state,
            {[this](auto d) { definitions = std::move(d); }, [this](auto&& f) { recovered = std::move(f); },
             [this](auto&& f) { defined.push_back(std::move(f)); }, [this](auto id) { dropped.push_back(id); },
             [](auto) {}, [] {}, [this](auto&& f, auto) { adopted.push_back(std::move(f)); },
             [this](auto i, auto) { checkpointed.push_back(i); }, [](bool) {},
             [this](auto&& job) { jobs.push_back(std::move(job)); },
             [this](auto id, std::int64_t tick_due_ms, bool keep_log) {
                 needs[id] = {tick_due_ms, keep_log};
             },
             [this](auto id) { caught_up.push_back(id); }}));
        return {};
    }
    void open(LogIndex last_at_start = {}) {
        const auto opened = try_open(last_at_start);
        INFO((opened ? "" : opened.error().detail));
        REQUIRE(opened.has_value());
    }
    // The process dies; what comes next sees the log from its start, of which apply skips what the checkpoint covers.
    void reopen_and_replay() {
        open(LogIndex(entries.size()));
        for (std::uint64_t index = 1; index <= entries.size(); index++)
            REQUIRE(apply_bytes(index, entries[index - 1], false).has_value());
        settle();
        REQUIRE(applier->recovered());
    }
    std::int64_t next_append_ms() const { return append_ms + step_ms; }
    Status apply_bytes(std::uint64_t index, const std::string& bytes, bool with_answer) {
        auto buffer = test::buffer_of(bytes);
        REQUIRE(buffer != nullptr);
        log::Committed entry;
        entry.index = LogIndex(index);
        entry.term = Term(1);
        entry.buffer = std::move(buffer);
        if (with_answer)
            entry.done.push_back([this](LogIndex, Status status) { answers.push_back(std::move(status)); });
        return applier->apply(std::move(entry));
    }
    Status add(const std::vector<log::Section>& sections, bool with_answer = false) {
        std::string bytes = log::encode_entry_head(append_ms += step_ms, static_cast<std::uint32_t>(sections.size()));
        for (const auto& section : sections)
            bytes += log::encode_section(section);
        entries.push_back(bytes);
        return apply_bytes(entries.size(), bytes, with_answer);
    }
    void settle() { REQUIRE(applier->settle(true).has_value()); }
    // As the leader does: views that have caught up become live.
    void make_live() {
        for (int i = 0; caught_up.empty() && i < 1000; i++)
            settle();
        REQUIRE_FALSE(caught_up.empty());
        for (const auto id : std::exchange(caught_up, {}))
            REQUIRE(add({log::ViewLive{id}}).has_value());
        settle();
    }
    void checkpoint() {
        applier->want_checkpoint();
        settle();
        run_job();
    }
    void run_job() {
        REQUIRE(jobs.size() == 1);
        auto done = run_checkpoint(*disk, *state, std::move(jobs[0]));
        jobs.clear();
        REQUIRE(done.has_value());
        applier->checkpoint_done(std::move(done).value());
    }
    ObjectId make(log::ObjectKind kind, const char* name, const char* sql, ObjectId stream = {}) {
        REQUIRE(add({log::CatalogPut{kind, name, sql}}, true).has_value());
        const ObjectId id{ShardId(0), LogIndex(entries.size())};
        if (kind == log::ObjectKind::stream)
            REQUIRE(add({log::DefineStream{id, 1, name, sql}}, true).has_value());
        else
            REQUIRE(add({log::DefineView{id, stream, name, sql}}, true).has_value());
        settle();
        return id;
    }
    std::string batch_bytes;  // of the section made last
    // The batch section of records (event time, value): no fingerprints.
    log::BatchSection batch_of(ObjectId stream, PartitionNo p, std::int64_t base,
                               const std::vector<std::pair<std::int64_t, std::string>>& records,
                               std::span<const record::Header> headers = {}) {
        record::BatchBuilder builder;
        for (const auto& [at, value] : records)
            builder.add(at, std::nullopt, value, headers);
        log::BatchSection section;
        section.stream = stream;
        section.version = 1;
        section.partition = p;
        section.count = static_cast<std::uint32_t>(records.size());
        section.base_offset = base;
        section.min_time_ms = builder.min_timestamp_ms();
        section.max_time_ms = builder.max_timestamp_ms();
        section.batch = batches.emplace_back(builder.finish(base, 1));
        batch_bytes = batches.back();
        return section;
    }
    // Events base..base+count-1 of partition p, one second apart, each with a fingerprint of its own.
    log::BatchSection batch(ObjectId stream, PartitionNo p, std::int64_t base, int count, std::int64_t first_ms) {
        std::vector<std::pair<std::int64_t, std::string>> records;
        std::vector<record::Fingerprint> fingerprints;
        for (int i = 0; i < count; i++) {
            const std::int64_t at = first_ms + i * 1000;
            const std::string id = std::to_string(p) + "-" + std::to_string(base + i);
            records.emplace_back(at, "{\"id\":\"" + id + "\",\"n\":1,\"ts\":" + std::to_string(at) + "}");
            fingerprints.push_back({static_cast<std::uint64_t>(base + i), static_cast<std::uint64_t>(p) * 2 + 1});
        }
        auto section = batch_of(stream, p, base, records);
        section.fingerprints = std::move(fingerprints);
        return section;
    }
    std::string digest() {
        auto text = applier->digest();
        REQUIRE(text.has_value());
        return text.value();
    }
    std::string partition(ObjectId stream, PartitionNo p) const { return partition_dir(shard(), stream, p); }
    std::vector<std::string> names_in(const std::string& folder) const { return disk->list(folder).value(); }

    // A connection of its own to the shard's tables.
    std::unique_ptr<store::Database> tables() const {
        auto opened = store::Database::open(shard() + "/view.db", {});
        REQUIRE(opened.has_value());
        return std::move(opened).value();
    }
    // The rows of a query through it: values joined by '|', rows by ' '; a REAL with its bits.
    std::string rows(const std::string& sql) const {
        auto db = tables();
        auto statement = db->prepare(sql);
        REQUIRE(statement.has_value());
        std::string out;
        while (statement.value()->step().value()) {
            if (!out.empty()) out += ' ';
            for (int c = 0; c < statement.value()->columns(); c++)
                out += (c > 0 ? "|" : "") + shown(statement.value()->column(c));
        }
        return out;
    }
    static std::string shown(const store::Value& value) {
        switch (value.type) {
            case store::ValueType::null:
                return "NULL";
            case store::ValueType::integer:
                return std::to_string(value.integer);
            case store::ValueType::real:
                return std::to_string(value.real) + "/" + std::to_string(std::bit_cast<std::uint64_t>(value.real));
            case store::ValueType::text:
            case store::ValueType::blob:
                return std::string(value.text);
        }
        return "?";
    }

  private:
    std::deque<std::string> batches;  // what sections point into
};

inline constexpr std::int64_t t0 = 1'700'000'040'000;  // a whole minute

}  // namespace weir::apply
