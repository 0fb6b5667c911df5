// {stream}_dead_letters: the records of partition -1 as a table (id, partition, offset, received_at, reason,
// column_name, message, raw, content_type). `raw` is text where the bytes are UTF-8 without zero bytes, else a blob;
// NULL above 15 MiB, which only a line that was too_large has. Pruned by id, offset and received_at.
#pragma once

#include "base/ids.h"
#include "log/partition.h"
#include "os/disk.h"
#include "store/table_source.h"

#include <memory>
#include <string>

namespace weir::query {

const std::vector<store::SourceColumn>& dead_letter_columns();

// `disk` outlives the table; `dir` is the folder of partition -1. `aside`: leaves the page cache as it is.
std::shared_ptr<store::TableSource> make_dead_letter_table(os::Disk& disk, std::string dir, log::ReadBound bound,
                                                           bool aside = false);

// UTF-8 as Unicode 15 table 3-7 has it, no zero byte.
bool is_text(std::string_view bytes);

}  // namespace weir::query
