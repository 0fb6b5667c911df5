// A shard's folder made by hand, as apply would leave it: segments, journals, view.db.
#pragma once

#include "apply/tables.h"
#include "log/journal.h"
#include "log/partition.h"
#include "os/real_disk.h"
#include "query/catalog_reader.h"
#include "record/batch.h"
#include "record/time.h"
#include "sql/statement.h"
#include "store/database.h"
#include "store/reader.h"
#include "support/must.h"
#include "support/temp_dir.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weir::query::test {

using weir::test::must;

inline std::int64_t ms(std::string_view time) {
    return record::parse_time_literal(time).value();
}

struct TestEvent {
    std::int64_t timestamp_ms = 0;
    std::string value;
    std::optional<std::string> key = std::nullopt;
    std::vector<std::pair<std::string, std::string>> headers = {};
};

struct TestBatch {
    PartitionNo partition = 0;
    std::vector<TestEvent> events;
    record::Codec codec = record::Codec::none;
};

class SmallShard {
  public:
    explicit SmallShard(log::PartitionOptions options = {}) : disk_(os::make_real_disk()), options_(options) {
        db_ = must(store::Database::open(temp_.path() + "/view.db", {}));
        exec(apply::tables_ddl);
    }

    const std::string& dir() const { return temp_.path(); }
    os::Disk& disk() { return *disk_; }
    store::Database& database() { return *db_; }
    void exec(const std::string& sql) { must(db_->exec(sql)); }

    record::StreamPtr add_stream(std::uint64_t index, const std::string& statement) {
        auto stream = std::make_shared<record::Stream>();
        auto create = std::get<sql::CreateStream>(must(sql::parse(statement)));
        stream->id = {ShardId(0), LogIndex(index)};
        stream->name = create.name;
        stream->schema = create.schema;
        exec("INSERT INTO _objects VALUES (" + id_of(*stream) + ", 'stream', " + store::quote_text(stream->name) +
             ", NULL, 1, " + store::quote_text(sql::canonical(create)) + ", 1000, 'live', 1)");
        Logs& logs = logs_[stream->id];
        for (PartitionNo p = dead_letter_partition; p < stream->schema.partitions; ++p) {
            const std::string folder = apply::partition_dir(dir(), stream->id, p);
            must(disk_->make_dirs(folder));
            logs.partitions[p] = must(log::PartitionLog::open(*disk_, folder, {}, options_));
        }
        const std::string journal = apply::stream_dir(dir(), stream->id) + "/journal";
        must(disk_->make_dirs(journal));
        logs.journal = must(log::Journal::open(*disk_, journal, {}));
        return stream;
    }

    void add_view(std::uint64_t index, const record::Stream& stream, const std::string& statement,
                  const std::string& state = "live") {
        const auto create = std::get<sql::CreateView>(must(sql::parse(statement)));
        const ObjectId id{ShardId(0), LogIndex(index)};
        exec("INSERT INTO _objects VALUES (" + std::to_string(id.packed()) + ", 'view', " +
             store::quote_text(create.name) + ", " + id_of(stream) + ", 1, " +
             store::quote_text(sql::canonical(create)) + ", 2000, " + store::quote_text(state) + ", 0.25)");
        std::string columns = "_k BLOB PRIMARY KEY";
        for (std::size_t i = 0; i < create.items.size(); ++i)
            columns += ", c" + std::to_string(i);
        exec("CREATE TABLE " + store::quote_name(apply::view_table(id)) + "(" + columns + ")");
        exec("CREATE TABLE " + store::quote_name(apply::late_table(id)) +
             "(partition INTEGER, \"offset\" INTEGER, window_start INTEGER, event_time INTEGER, raw BLOB)");
    }

    // One entry of the log. Its index is one more than the last one's, unless `index` says so.
    void entry(const record::Stream& stream, std::int64_t append_ms, const std::vector<TestBatch>& batches,
               std::uint64_t index = 0) {
        applied_ = index > 0 ? index : applied_ + 1;
        Logs& logs = logs_.at(stream.id);
        log::JournalRecord record;
        record.index = LogIndex(applied_);
        record.append_time_ms = append_ms;
        record.definition_version = 1;
        for (const TestBatch& batch : batches) {
            log::PartitionLog& log = *logs.partitions.at(batch.partition);
            const std::int64_t base = log.end_offset();
            record::BatchBuilder builder;
            for (const TestEvent& event : batch.events) {
                std::vector<record::Header> headers;
                for (const auto& [key, value] : event.headers)
                    headers.push_back({key, value});
                builder.add(event.timestamp_ms, event.key ? std::optional<std::string_view>(*event.key) : std::nullopt,
                            event.value, headers);
            }
            const std::int64_t least = builder.min_timestamp_ms(), greatest = builder.max_timestamp_ms();
            kept_.push_back(std::string(builder.finish(base, 0, batch.codec)));
            must(log.append(kept_.back(), base, static_cast<std::int32_t>(batch.events.size()), least, greatest,
                            append_ms));
            must(log.flush());
            record.batches.push_back({batch.partition, static_cast<std::uint32_t>(batch.events.size()), base});
        }
        must(logs.journal->append(record));
        must(logs.journal->flush());
        kept_.clear();
    }

    void retain(const record::Stream& stream, PartitionNo partition, std::int64_t offset) {
        (void)logs_.at(stream.id).partitions.at(partition)->advance_start(offset);
    }

    // The records of entries so far go, as retention takes them.
    void cut_journal(const record::Stream& stream, std::int64_t append_ms) {
        (void)logs_.at(stream.id).journal->advance_before(append_ms);
    }

    // Makes everything so far visible.
    void commit() {
        must(db_->begin());
        exec("INSERT OR REPLACE INTO _applied VALUES (1, " + std::to_string(applied_) + ", 0)");
        for (auto& [id, logs] : logs_) {
            for (auto& [p, log] : logs.partitions) {
                if (log->end_offset() == 0) continue;
                const log::SegmentState& last = log->state().segments.back();
                exec("INSERT OR REPLACE INTO _ends VALUES (" + std::to_string(id.packed()) + ", " + std::to_string(p) +
                     ", " + std::to_string(log->start_offset()) + ", " + std::to_string(log->end_offset()) + ", " +
                     std::to_string(last.base_offset) + ", " + std::to_string(last.log_bytes) + ", " +
                     std::to_string(log->bytes()) + ")");
            }
            auto put = must(db_->prepare("INSERT OR REPLACE INTO _journals VALUES (?1, ?2)"));
            const std::string state = logs.journal->state().encode();
            put->bind(1, store::Value::of(static_cast<std::int64_t>(id.packed())));
            put->bind(2, store::Value::of_blob(state));
            must(put->step());
        }
        must(db_->commit(false));
    }

    std::uint64_t applied() const { return applied_; }

    // The stream's table as of now, for scans without SQL.
    StreamTableParts parts(const record::StreamPtr& stream) {
        StreamTableParts parts;
        parts.disk = disk_.get();
        parts.shard_dir = dir();
        parts.stream = stream;
        Logs& logs = logs_.at(stream->id);
        for (auto& [p, log] : logs.partitions) {
            if (p < 0 || log->end_offset() == 0) continue;
            const log::SegmentState& last = log->state().segments.back();
            parts.partitions.push_back({p, {log->start_offset(), log->end_offset(), last.base_offset, last.log_bytes}});
        }
        parts.journal = logs.journal->state();
        parts.counters = std::make_shared<ScanCounters>();
        return parts;
    }
    log::ReadBound bound(const record::Stream& stream, PartitionNo p) {
        log::PartitionLog& log = *logs_.at(stream.id).partitions.at(p);
        const log::SegmentState& last = log.state().segments.back();
        return {log.start_offset(), log.end_offset(), last.base_offset, last.log_bytes};
    }

  private:
    struct Logs {
        std::map<PartitionNo, std::unique_ptr<log::PartitionLog>> partitions;
        std::unique_ptr<log::Journal> journal;
    };
    static std::string id_of(const record::Stream& stream) { return std::to_string(stream.id.packed()); }

    weir::test::TempDir temp_;
    std::unique_ptr<os::Disk> disk_;
    log::PartitionOptions options_;
    std::unique_ptr<store::Database> db_;
    std::map<ObjectId, Logs> logs_;
    std::vector<std::string> kept_;
    std::uint64_t applied_ = 0;
};

// "a|1|NULL;b|2|2.5": rows as text. TIMESTAMPs stay numbers.
inline std::string shown(const std::vector<store::Value>& values) {
    std::string out;
    for (const store::Value& value : values) {
        if (!out.empty()) out += "|";
        switch (value.type) {
            case store::ValueType::null:
                out += "NULL";
                break;
            case store::ValueType::integer:
                out += std::to_string(value.integer);
                break;
            case store::ValueType::real:
                out += std::to_string(value.real).substr(0, 5);
                break;
            case store::ValueType::text:
                out += value.text;
                break;
            case store::ValueType::blob:
                out += "blob:" + std::string(value.text);
                break;
        }
    }
    return out;
}

// The access stream of most tests: two partitions, EVENT TIME ts.
constexpr const char* access_statement =
    "CREATE STREAM access (event_id TEXT, status INTEGER, path TEXT FROM '$.properties.path', ok BOOLEAN, ratio REAL, "
    "doc JSON, "
    "ts TIMESTAMP FROM '$.timestamp', EVENT TIME ts) PARTITIONS 2";

inline TestEvent access_event(int i, std::int64_t at_ms) {
    return {at_ms,
            "{\"event_id\":\"e" + std::to_string(i) + "\",\"status\":" + std::to_string(200 + i % 3) +
                ",\"properties\":{\"path\":\"/p" + std::to_string(i) + "\"},\"timestamp\":\"" +
                record::format_rfc3339(at_ms) + "\"}",
            "k" + std::to_string(i)};
}

}  // namespace weir::query::test
