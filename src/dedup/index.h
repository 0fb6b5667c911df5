// Which ids the log already holds, of one stream: a table of what is newer than the last checkpoint (what is in flight
// is in it), and immutable sorted runs in files behind it, grouped in buckets of append time.
//
// Behind the tables stand the runs of dedup/run.h. What the tables hold costs 32 bytes a slot at a load of 3/8 to 3/4.
//
// Owner of Index: the admission thread. Runs are written and opened by the checkpoint (any thread, no state) and handed
// to the index as shared immutable objects.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "dedup/run.h"
#include "record/fingerprint.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace weir::dedup {

// Bucket arithmetic: at most 16 per WITHIN. An id is remembered from its append until its bucket's end + within.
std::int64_t bucket_width_ms(std::int64_t within_ms);
std::int64_t bucket_of(std::int64_t append_ms, std::int64_t within_ms);

// WITHIN changed, and with it the buckets' width. The bucket that now holds all ids of `bucket`: none is forgotten
// before its time. Of buckets that have expired: the last one all of whose ids have.
std::int64_t rebucketed(std::int64_t bucket, std::int64_t from_within_ms, std::int64_t to_within_ms);
std::int64_t expired_rebucketed(std::int64_t bucket, std::int64_t from_within_ms, std::int64_t to_within_ms);

// How `dedup_memory` is divided: half of it is for the tables, within which admission and the checkpoints keep them;
// the rest, less a little to spare, for the fences and filters of all streams' runs together.
struct RunMemory {
    std::size_t bytes_max;   // at any moment: no filter is loaded beyond it
    std::size_t kept_bytes;  // what the indexes keep: less, so that a checkpoint's new runs find room
};
RunMemory run_memory(std::size_t dedup_memory);
// What each stream's runs may take of `bytes` together when they want `wants` (fences and filters of all of them): the
// highest level at which all fit, so that who wants little leaves the rest to the others. `bytes` where all have all.
std::size_t run_memory_level(std::size_t bytes, std::vector<std::size_t> wants);

class Index {
  public:
    struct Found {
        bool duplicate = false;
        Place place;
        // Index of the entry that carries the first one; 0 when it is in a run, so committed long ago. The caller
        // compares: above its commit index the first one is in flight, and its duplicate waits for its fate.
        LogIndex in_flight;
    };

    explicit Index(std::int64_t within_ms);  // > 0
    ~Index();
    Index(const Index&) = delete;
    Index& operator=(const Index&) = delete;

    // Looks up ids[i] into out[i] (out is resized; an id without a key is never a duplicate). An id that occurs twice
    // in `ids` is found the second time only through insert_if_new(): admission looks up a block, then inserts one by
    // one. Costs a cache line a run and id, and a page read for an id that a run's filter lets through or that meets a
    // run without filter. Errors (corrupt, io): nothing is known of any id, the caller must refuse them all.
    Status look_up(const std::vector<record::Fingerprint>& ids, std::vector<Found>& out);
    // Adds an id that look_up did not find; false (and `found` set) when an earlier insert of this block has it.
    // `entry` never goes down, save after forget_from(). No call costs more than growing 1/256 of the table.
    bool insert_if_new(const record::Fingerprint& id, Place place, LogIndex entry, Found& found);
    // An entry was truncated before it was committed (a leader lost its term): ids of entries >= `from` leave.
    void forget_from(LogIndex from);

    // The checkpoint at `covered` has these runs: they replace the former list; table entries of indexes <= covered
    // leave. Filters beyond the memory budget are dropped, oldest first. The memory of a large closed generation comes
    // back while look-ups go on, a 256th a block of 64 ids, so that neither this call nor another waits for all of it.
    void adopt(std::vector<std::shared_ptr<const Run>> runs, LogIndex covered);
    // Closes the present table generation. Call when a checkpoint begins: adopt() then need not look at what comes
    // while it is written. (Without, adopt() does the same at once, at 20 ms a million ids.)
    void begin_generation();
    // Ids of entries from `first` on belong to `bucket`; buckets and entries ascend. Lets expire_through() reach ids
    // that are still in the tables (a short WITHIN, a late checkpoint); without it they leave with adopt() alone.
    void begin_bucket(std::int64_t bucket, LogIndex first);
    // Everything at or below the bucket is expired (decided by the leader, an entry): runs of it are dropped, and a
    // later adopt() does not bring them back.
    void expire_through(std::int64_t bucket);

    // WITHIN changed: from here on buckets count in the new width. What has expired stays so.
    void change_within(std::int64_t from_ms, std::int64_t to_ms);

    // What fences and filters may take together. The newest runs' filters have it: others are dropped, at once and in
    // adopt(), also where a newer run has none yet (load_filters() gives it one at the next checkpoint); fences stay.
    // (open_runs() with the same budget does not even load them.) Default: no bound.
    void set_memory_budget(std::size_t bytes);

    std::size_t memory_bytes() const;   // tables, fences and filters
    std::size_t wanted_bytes() const;   // of fences and filters, had every run its filter
    std::uint64_t table_count() const;  // ids newer than the runs; a few in flight too low while tables are being swept
    std::size_t run_count() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace weir::dedup
