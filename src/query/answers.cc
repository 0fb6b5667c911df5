#include "query/answers.h"

#include "apply/tables.h"
#include "base/limits.h"
#include "log/entry.h"
#include "log/partition.h"
#include "record/batch.h"
#include "store/reader.h"

#include <memory>
#include <vector>

namespace weir::query {

Result<std::string> read_answer(os::Disk& disk, const std::string& shard_dir, ShardId shard, std::int64_t offset) {
    const ObjectId stream = log::answers_stream(shard);
    log::ReadBound bound;
    auto reader = TRY(store::Reader::open(shard_dir + "/view.db", [] { return std::int64_t{0}; }));
    TRY(reader->begin_snapshot());
    TRY(reader->query_internal(
        "SELECT start_offset, end_offset, last_segment, last_bytes FROM main._ends WHERE partition = 0 AND stream = ?1",
        [&](const std::vector<store::Value>& row) {
            bound = {row[0].integer, row[1].integer, row[2].integer, static_cast<std::uint64_t>(row[3].integer)};
        },
        {store::Value::of(static_cast<std::int64_t>(stream.packed()))}));
    reader->end_snapshot();
    log::ReadRange range;
    range.from_offset = offset;
    range.to_offset = offset + 1;
    auto batches =
        TRY(log::PartitionReader::open(disk, apply::partition_dir(shard_dir, stream, 0), bound, range, true));
    while (const auto bytes = TRY(batches->next())) {
        const auto batch = TRY(record::read_batch(*bytes));
        auto records = TRY(record::RecordIterator::open(batch, limits::batch_bytes_max));
        record::Record record;
        while (TRY(records.next(record)))
            if (record.offset == offset) return std::string(record.value);
    }
    return Error{Errc::not_found, "the answer at offset " + std::to_string(offset) + " is not there any more"};
}

}  // namespace weir::query
