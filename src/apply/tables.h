// The tables of a shard's view.db: what apply writes in one transaction with the applied index, and query reads in one
// snapshot. Object ids are ObjectId::packed(). Times are epoch milliseconds.
#pragma once

#include "base/ids.h"

#include <string>

namespace weir::apply {

// Made at the first start. A change of meaning is a new number in PRAGMA user_version.
constexpr int tables_version = 1;
constexpr const char* tables_ddl = R"sql(
CREATE TABLE IF NOT EXISTS _applied(one INTEGER PRIMARY KEY CHECK (one = 1), idx INTEGER NOT NULL, append_time INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS _objects(id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL UNIQUE, stream INTEGER,
  version INTEGER NOT NULL, statement TEXT NOT NULL, created_at INTEGER NOT NULL, state TEXT NOT NULL, progress REAL NOT NULL);
CREATE TABLE IF NOT EXISTS _ends(stream INTEGER NOT NULL, partition INTEGER NOT NULL, start_offset INTEGER NOT NULL,
  end_offset INTEGER NOT NULL, last_segment INTEGER NOT NULL, last_bytes INTEGER NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY (stream, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _journals(stream INTEGER PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS _counters(stream INTEGER PRIMARY KEY, stored INTEGER NOT NULL, duplicate INTEGER NOT NULL,
  dead_lettered INTEGER NOT NULL, refused INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS _views(view INTEGER PRIMARY KEY, row_count INTEGER NOT NULL, seen INTEGER NOT NULL,
  filtered INTEGER NOT NULL, windowed INTEGER NOT NULL, late INTEGER NOT NULL, open_groups INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS _watermarks(view INTEGER NOT NULL, partition INTEGER NOT NULL, watermark INTEGER,
  max_event_time INTEGER, idle INTEGER NOT NULL, PRIMARY KEY (view, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _windows(view INTEGER NOT NULL, window_start INTEGER NOT NULL, window_end INTEGER NOT NULL,
  groups INTEGER NOT NULL, PRIMARY KEY (view, window_start)) WITHOUT ROWID;
)sql";
// _objects.kind: 'stream' or 'view'; state: 'live', 'building', 'stopped: <why>'.
// _windows: those that a view has state of.
// _ends.partition -1: dead letters. last_segment, last_bytes: log::ReadBound. bytes: the partition's log in all
// segments. _journals.state: log::JournalState::encode(). A view's rows: table view_table(id), columns _k BLOB
// (identity, sorts by window) and c0, c1 ... in the SELECT list's order. A view's late rows: table
// late_table(id)(partition, offset, window_start, event_time, raw).
inline std::string view_table(ObjectId id) {
    return "v" + id.file_text();
}
inline std::string late_table(ObjectId id) {
    return "l" + id.file_text();
}

// The shard's answers (log::answers_stream), made by the first entry that brings one. WITHIN and RETAIN as there.
constexpr const char* answers_statement =
    "CREATE STREAM answers (id TEXT, DEDUP KEY (id) WITHIN 24h) PARTITIONS 1 RETAIN 30h";

// Where not every group has a row at once (HAVING, EMIT FINAL, EVERY), the view's table counts its rows itself.
inline std::string row_count_triggers(ObjectId id) {
    const std::string count = "UPDATE _views SET row_count = row_count ";
    const std::string where = " WHERE view = " + std::to_string(id.packed()) + "; END; ";
    return "INSERT OR IGNORE INTO _views VALUES (" + std::to_string(id.packed()) + ", 0, 0, 0, 0, 0, 0); " +
           "CREATE TRIGGER IF NOT EXISTS \"" + view_table(id) + "_put\" AFTER INSERT ON \"" + view_table(id) +
           "\" BEGIN " + count + "+ 1" + where + "CREATE TRIGGER IF NOT EXISTS \"" + view_table(id) +
           "_gone\" AFTER DELETE ON \"" + view_table(id) + "\" BEGIN " + count + "- 1" + where;
}

// Folders of a stream below the shard's: streams/<id>/p<partition>, streams/<id>/dead, streams/<id>/journal, .../dedup.
inline std::string stream_dir(const std::string& shard_dir, ObjectId id) {
    return shard_dir + "/streams/" + id.file_text();
}
inline std::string partition_dir(const std::string& shard_dir, ObjectId id, PartitionNo p) {
    return stream_dir(shard_dir, id) + (p == dead_letter_partition ? "/dead" : "/p" + std::to_string(p));
}

// A dead letter is a record of partition -1: value = the bytes as sent, timestamp = when received, headers:
constexpr const char* dead_header_reason = "reason";
constexpr const char* dead_header_column = "column";
constexpr const char* dead_header_message = "message";
constexpr const char* dead_header_content_type = "content_type";

}  // namespace weir::apply
