// `weir doctor`: is everything that a data directory holds whole and of one mind? Offline: no server may hold it.
//
// It reads what a start would read and more: every byte of the log, of segments and their indexes, of journals and
// dedup runs is checked against its checksum, SQLite against itself, and the parts against each other. It repairs
// nothing; as a start does, it syncs the write-ahead log and leaves a mark in it. Memory: a batch, a block, a page at a
// time.
#pragma once

#include "node/console.h"
#include "node/rows.h"

#include <cstdint>
#include <string>
#include <vector>

namespace weir::node {

enum class CheckResult : std::uint8_t { ok, failed, skipped };
const char* check_result_name(CheckResult result);

struct DoctorCheck {
    std::string name;  // "write-ahead log", "segments of access"
    CheckResult result = CheckResult::ok;
    std::string found;   // what was looked at, or what is wrong
    std::string advice;  // what to do; "" where nothing is wrong
};

// Errors: not_found (no data directory), conflict (a server holds it: its pid is in detail), io (the lock).
Result<std::vector<DoctorCheck>> examine(const std::string& data_dir);

// 0 all is well, 1 something is not, 5 no data directory, 6 a server holds it. json: one document; ndjson, csv: a row a
// check.
Exit run_doctor(const Console& console, const std::string& data_dir, OutputFormat format);

}  // namespace weir::node
