// A run: the ids of one bucket of append time, sorted, in one immutable file with a checksummed filter and fences.
//
//   pages     4096 bytes each: crc u32 | count u32 | spare u64 | 170 x {hi u64 | lo u64 | place u64}, little-endian,
//             ascending by (hi, lo); all but the last are full. crc: CRC-32C of the 4092 bytes behind it, seeded with
//             the page's number, so that a page in another's place does not check.
//   fences    u64 each: hi of each page's first entry
//   filter    64-byte lines: an id sets 8 bits of one line, and there are 20 bits of filter an id
//   footer    128 bytes: magic, version, counts, lengths, CRCs of fences and filter, and its own CRC
//
// The filter's line is a monotone function of hi, so that a writer that gets ids in order writes pages, fences and
// filter in one pass, in bounded memory. A look-up that the filter lets through reads one page (seldom two). One page
// or fence costs 8 bytes of memory, the filter 2.5 bytes an id; a run whose filter is not in memory costs a page read a
// look-up.
#pragma once

#include "base/ids.h"
#include "base/result.h"
#include "os/disk.h"
#include "record/fingerprint.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::dedup {

// Partition and offset of the stored event: partition in the top 16 bits, offset in the other 48.
struct Place {
    std::uint64_t packed = 0;
    static Place of(PartitionNo partition, std::int64_t offset) {
        return {static_cast<std::uint64_t>(static_cast<std::uint16_t>(partition)) << 48 |
                (static_cast<std::uint64_t>(offset) & 0xffffffffffffull)};
    }
    PartitionNo partition() const { return static_cast<PartitionNo>(packed >> 48); }
    std::int64_t offset() const { return static_cast<std::int64_t>(packed & 0xffffffffffffull); }
};

struct RunEntry {
    record::Fingerprint id;
    Place place;
};

// What a checkpoint remembers of a run.
struct RunState {
    std::int64_t bucket = 0;   // append time / bucket width
    std::uint64_t number = 0;  // file name: run<number>.dd, unique in the stream's folder
    std::uint64_t count = 0;
};

// g++ 12 takes a function that does nothing but prefetch for one without effect, and drops its calls (a look-up then
// costs three times as much); the empty asm is an effect.
inline void prefetch_line(const void* at) {
    __builtin_prefetch(at);
    asm volatile("" : : "r"(at));
}

// A run's filter as it lies in memory; null when it is not there. Valid as long as the Run it came from holds it.
struct FilterView {
    const std::uint64_t* words = nullptr;  // lines x 8
    std::uint64_t lines = 0;

    explicit operator bool() const { return words != nullptr; }
    const std::uint64_t* line(const record::Fingerprint& id) const {
        return words + 8 * static_cast<std::uint64_t>((static_cast<__uint128_t>(id.hi) * lines) >> 64);
    }
    void prefetch(const record::Fingerprint& id) const { prefetch_line(line(id)); }
    bool may_hold(const record::Fingerprint& id) const {
        const std::uint64_t* at = line(id);
        std::uint64_t bits = id.lo >> 1, all = 1;  // the lowest bit of lo is always set: it tells nothing
        for (int i = 0; i < 8; i++, bits >>= 6)
            all &= at[i] >> (bits & 63);
        return (all & 1) != 0;
    }
};

class Run {
  public:
    // Reads fences and (when with_filter) the filter. Errors: corrupt (the file, or not the run that `state` means),
    // io, not_found.
    static Result<std::shared_ptr<const Run>> open(os::Disk& disk, const std::string& path, const RunState& state,
                                                   bool with_filter);
    virtual ~Run() = default;
    virtual const RunState& state() const = 0;
    virtual const std::string& path() const = 0;
    virtual bool has_filter() const = 0;
    virtual std::size_t memory_bytes() const = 0;  // fences and filter
    virtual FilterView filter() const = 0;
    // Gives the filter's memory back. Only the thread that looks up may call it: it ends every FilterView.
    virtual void drop_filter() const = 0;
    virtual void prefetch(const record::Fingerprint& id) const = 0;
    virtual bool may_hold(const record::Fingerprint& id) const = 0;  // filter only; true when it has none
    // One page read. Thread-safe, goes on after the file was unlinked. Errors: corrupt (file, page), io.
    virtual Result<std::optional<Place>> find(const record::Fingerprint& id) const = 0;
    // Entries of the pages [page, page + count) in order, appended to `out`: for merges and checks. Errors: corrupt,
    // io.
    virtual std::uint64_t page_count() const = 0;
    virtual Status read_pages(std::uint64_t page, std::uint64_t count, std::vector<RunEntry>& out) const = 0;
};

// The same run, counted to another bucket: the widths of buckets changed. Shares file, fences and filter.
std::shared_ptr<const Run> in_bucket(std::shared_ptr<const Run> run, std::int64_t bucket);

// Sorts `entries` (any order, no two with one id) and writes a run at `path`, synced (the folder too); what stood there
// before is overwritten. Takes as much memory again as the entries. Errors: disk_full, io; the file may be there in
// part.
Status write_run(os::Disk& disk, const std::string& path, std::vector<RunEntry>&& entries);
// Merges runs into one at `path`, synced, whose count is the sum of theirs; memory: a block of 1 MiB or less a run and
// about 2 MiB. Where two runs hold one id, find() answers from the one with the lower number. Errors: corrupt,
// disk_full, io.
Status merge_runs(os::Disk& disk, const std::string& path, const std::vector<std::shared_ptr<const Run>>& runs);

// Which runs the checkpoint should merge: each group has two or more runs of one bucket, no run is in two groups, and
// when all groups are merged no bucket has more than runs_per_bucket_max. The newest bucket is merged in tiers, only
// runs of like size together, so that an id is written a logarithmic number of times; older buckets get no more runs,
// so theirs become one.
constexpr std::size_t runs_per_bucket_max = 4;
std::vector<std::vector<RunState>> plan_merges(const std::vector<RunState>& runs);

// ---- the folder of a stream's runs ----

std::string run_name(std::uint64_t number);  // "run17.dd"
std::string run_path(const std::string& dir, std::uint64_t number);
// Memory of a run with `count` ids: fences, and the filter (with what its pages round up to).
std::size_t fences_bytes(std::uint64_t count);
std::size_t filter_bytes(std::uint64_t count);
// Which of `runs` have their filters in `memory_bytes`: newest first, as far as it reaches after all fences.
std::vector<bool> filters_within(const std::vector<RunState>& runs, std::size_t memory_bytes);
// Opens anew, with its filter, each of `runs` that has none and belongs to those within `kept_bytes`, newest first, as
// far as `held_bytes` (all that is in memory now, and grows by what is loaded) stays within `bytes_max`. Errors as
// Run::open().
Status load_filters(os::Disk& disk, std::vector<std::shared_ptr<const Run>>& runs, std::size_t kept_bytes,
                    std::size_t bytes_max, std::size_t& held_bytes);
// Opens the runs that a checkpoint lists, in its order: fences of all of them, filters newest first as far as
// `memory_bytes` reaches. Objects of `present` are taken over where they are as wanted. Errors: corrupt (a file that is
// listed is missing or damaged), io.
Result<std::vector<std::shared_ptr<const Run>>> open_runs(os::Disk& disk, const std::string& dir,
                                                          const std::vector<RunState>& states,
                                                          const std::vector<std::shared_ptr<const Run>>& present,
                                                          std::size_t memory_bytes);
// After a start: removes the run files of `dir` that are not listed. Makes the folder where it is missing.
Status remove_unlisted_runs(os::Disk& disk, const std::string& dir, const std::vector<RunState>& listed);
// A list of runs as a checkpoint keeps it. decode: corrupt.
std::string encode_runs(const std::vector<RunState>& runs);
Result<std::vector<RunState>> decode_runs(std::string_view bytes);

}  // namespace weir::dedup
