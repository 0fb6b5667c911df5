// `weir inspect`: what is inside of a data directory's files, one object a line or as a table. For people who look for
// something; it repairs nothing.
#pragma once

#include "node/console.h"
#include "node/rows.h"

#include <string>

namespace weir::node {

enum class DumpWhat : std::uint8_t {
    wal,         // each entry behind the checkpoint: index, term, what it brings
    checkpoint,  // what the last checkpoint holds: streams, views, partitions, journals, runs
    state,       // how many values of which kind the state store has
};

// No server may hold the directory. Exit codes as doctor's: 1 where something cannot be read, after what could be.
Exit run_dump(const Console& console, const std::string& data_dir, DumpWhat what, OutputFormat format);

// The batches of one segment file (*.log), whoever holds it: offset, count, times, whether the checksum holds. Stops at
// the first that is no batch: a torn or foreign file ends so, exit code 1.
Exit run_dump_segment(const Console& console, const std::string& path, OutputFormat format);

}  // namespace weir::node
