// The admission side of dedup: tables of what is newer than the runs, and the look-up over tables and runs.
//
// A generation is 256 open-addressing tables, chosen by the top bits of the fingerprint; each grows by itself, so that
// no insert pays for more than one of them. begin_generation() opens a new one; adopt() sweeps what the checkpoint
// covers.
#include "dedup/index.h"

#include "base/check.h"
#include "dedup/detail/huge_array.h"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

namespace weir::dedup {
namespace {

using record::Fingerprint;

constexpr std::size_t tables_count = 256;
constexpr std::size_t table_slots_min = 8;
constexpr std::size_t block_ids = 64;  // looked up together: their cache misses overlap
constexpr std::int64_t buckets_per_within = 16;
// adopt() sweeps closed generations up to this size itself; look-ups sweep larger ones, a table a block.
constexpr std::uint64_t sweep_at_once_max = 50'000;

struct Slot {
    std::uint64_t hi, lo;  // lo 0: empty
    std::uint64_t place;
    std::uint64_t entry;
};
static_assert(sizeof(Slot) == 32);  // two a cache line, none across two

class Table {
  public:
    void prefetch(const Fingerprint& id) const {
        if (slots_.size() > 0) prefetch_line(&slots_[home(id)]);
    }
    // The slot of `id`, nullptr where it is not in the table.
    Slot* find(const Fingerprint& id) const {
        if (slots_.size() == 0) return nullptr;
        // Ends, because a table is never more than 3/4 full.
        for (std::size_t i = home(id);; i = (i + 1) & (slots_.size() - 1)) {
            Slot& slot = slots_[i];
            if (slot.hi == id.hi && slot.lo == id.lo) return &slot;
            if (slot.lo == 0) return nullptr;
        }
    }
    // `slot`'s id is not in the table.
    void insert(const Slot& slot) {
        if ((count_ + 1) * 4 > slots_.size() * 3)
            rebuild(std::max(slots_.size() * 2, table_slots_min), [](auto&) { return true; });
        put(slot);
    }
    // Keeps the slots that `keeps` says; returns how many left.
    template <class Keeps>
    std::size_t retain(Keeps keeps) {
        std::size_t kept = 0;
        for (std::size_t i = 0; i < slots_.size(); i++)
            kept += slots_[i].lo != 0 && keeps(slots_[i]) ? 1 : 0;
        const std::size_t left = count_ - kept;
        if (left == 0) return 0;
        std::size_t size = kept == 0 ? 0 : table_slots_min;
        while (kept * 4 > size * 3)
            size *= 2;
        rebuild(size, keeps);
        return left;
    }
    template <class Visit>
    void each(Visit visit) const {
        for (std::size_t i = 0; i < slots_.size(); i++)
            if (slots_[i].lo != 0) visit(slots_[i]);
    }
    std::size_t bytes() const { return slots_.bytes(); }
    std::size_t count() const { return count_; }

  private:
    std::size_t home(const Fingerprint& id) const { return static_cast<std::size_t>(id.hi) & (slots_.size() - 1); }
    void put(const Slot& slot) {
        std::size_t i = home({slot.hi, slot.lo});
        while (slots_[i].lo != 0)
            i = (i + 1) & (slots_.size() - 1);
        slots_[i] = slot;
        count_++;
    }
    template <class Keeps>
    void rebuild(std::size_t size, Keeps keeps) {
        detail::HugeArray<Slot> old = std::exchange(slots_, detail::HugeArray<Slot>(size));
        count_ = 0;
        for (std::size_t i = 0; i < old.size(); i++)
            if (old[i].lo != 0 && keeps(old[i])) put(old[i]);
    }

    detail::HugeArray<Slot> slots_;  // a power of two, or none
    std::size_t count_ = 0;
};

struct Generation {
    std::array<Table, tables_count> tables;
    std::uint64_t count = 0;
    std::uint64_t least_entry = UINT64_MAX, greatest_entry = 0;

    Table& table(const Fingerprint& id) { return tables[id.hi >> 56]; }

    // `slot`'s id is not in this generation.
    void insert(const Slot& slot) {
        table({slot.hi, slot.lo}).insert(slot);
        count++;
        least_entry = std::min(least_entry, slot.entry);
        greatest_entry = std::max(greatest_entry, slot.entry);
    }
    template <class Keeps>
    void retain(Keeps keeps) {
        for (Table& at : tables)
            count -= at.retain(keeps);
    }
};

std::int64_t floor_div(__int128_t a, std::int64_t b) {
    const __int128_t quotient = a / b - (a % b < 0 ? 1 : 0);
    if (quotient < INT64_MIN + 2) return INT64_MIN + 2;  // INT64_MIN: nothing, where buckets expire
    return quotient > INT64_MAX ? INT64_MAX : static_cast<std::int64_t>(quotient);
}

// A run as look-ups see it, without virtual calls.
struct RunSlot {
    std::shared_ptr<const Run> run;
    FilterView filter;
};

}  // namespace

std::int64_t bucket_width_ms(std::int64_t within_ms) {
    CHECK(within_ms > 0);
    return within_ms / buckets_per_within + (within_ms % buckets_per_within != 0 ? 1 : 0);
}

std::int64_t bucket_of(std::int64_t append_ms, std::int64_t within_ms) {
    const std::int64_t width = bucket_width_ms(within_ms);
    return append_ms / width - (append_ms % width < 0 ? 1 : 0);
}

std::int64_t rebucketed(std::int64_t bucket, std::int64_t from_within_ms, std::int64_t to_within_ms) {
    const __int128_t behind = (static_cast<__int128_t>(bucket) + 1) * bucket_width_ms(from_within_ms);
    return floor_div(behind - 1, bucket_width_ms(to_within_ms));
}

std::int64_t expired_rebucketed(std::int64_t bucket, std::int64_t from_within_ms, std::int64_t to_within_ms) {
    const __int128_t behind = (static_cast<__int128_t>(bucket) + 1) * bucket_width_ms(from_within_ms);
    return floor_div(behind, bucket_width_ms(to_within_ms)) - 1;
}

RunMemory run_memory(std::size_t dedup_memory) {
    return {dedup_memory / 16 * 7, dedup_memory / 16 * 6};
}

std::size_t run_memory_level(std::size_t bytes, std::vector<std::size_t> wants) {
    std::ranges::sort(wants);
    std::size_t left = bytes;
    for (std::size_t i = 0; i < wants.size(); i++) {
        const std::size_t level = left / (wants.size() - i);
        if (wants[i] > level) return level;
        left -= wants[i];
    }
    return bytes;
}

struct Index::State {
    struct BucketMark {
        std::int64_t bucket;
        std::uint64_t first_entry;
    };

    // Newest first; never empty.
    std::deque<std::unique_ptr<Generation>> generations;
    std::vector<RunSlot> runs;  // newest first
    std::size_t memory_budget = SIZE_MAX;
    std::int64_t expired_through = INT64_MIN;
    std::uint64_t dead_through = 0;  // table ids of entries up to here have expired with their bucket
    std::uint64_t covered = 0;       // table ids of entries up to here are in the runs, or were and have expired
    std::deque<BucketMark> marks;    // ascending
    std::size_t sweepable = 0;       // how many of the oldest generations a checkpoint has covered
    std::size_t swept_tables = 0;    // of the oldest generation

    State() { generations.push_front(std::make_unique<Generation>()); }

    bool lives(const Slot& slot) const { return slot.entry > dead_through && slot.entry > covered; }
    Slot* find_in_tables(const Fingerprint& id) {
        for (auto& generation : generations) {
            Slot* slot = generation->table(id).find(id);
            if (slot && lives(*slot)) return slot;
        }
        return nullptr;
    }
    void sweep_table();
    void fit_filters();
    Status look_up_block(const Fingerprint* ids, Found* out, std::size_t count);
    Status look_up_runs(const Fingerprint* ids, Found* out, std::array<std::uint8_t, block_ids>& open,
                        std::size_t count);
    static Status find_in_run(const Run& run, const Fingerprint& id, Found& out) {
        auto place = TRY(run.find(id));
        if (place) out = {true, *place, LogIndex()};
        return {};
    }
};

// Empties one table of the oldest covered generation. What still lives there was in flight when the checkpoint began:
// few. It moves to the present generation, so that look-ups do not meet ever more generations.
void Index::State::sweep_table() {
    if (sweepable == 0) return;
    Generation& present = *generations.front();
    Generation& oldest = *generations.back();
    Table& table = oldest.tables[swept_tables];
    table.each([&](const Slot& slot) {
        if (!lives(slot)) return;
        const Fingerprint id{slot.hi, slot.lo};
        if (!present.table(id).find(id)) present.insert(slot);
    });
    oldest.count -= table.count();
    table = Table();
    if (++swept_tables < tables_count) return;
    swept_tables = 0;
    sweepable--;
    generations.pop_back();
}

// Fences stay whatever they cost: without them a look-up reads pages at random.
void Index::State::fit_filters() {
    std::vector<RunState> states;
    states.reserve(runs.size());
    for (const RunSlot& slot : runs)
        states.push_back(slot.run->state());
    const std::vector<bool> keeps = filters_within(states, memory_budget);
    for (std::size_t i = 0; i < runs.size(); i++) {
        if (!keeps[i] && runs[i].run->has_filter()) runs[i].run->drop_filter();
        runs[i].filter = runs[i].run->filter();
    }
}

Status Index::State::look_up_block(const Fingerprint* ids, Found* out, std::size_t count) {
    sweep_table();
    std::array<std::uint8_t, block_ids> open;  // numbers of ids that are not found yet
    std::size_t open_count = 0;
    for (auto& generation : generations)
        for (std::size_t i = 0; i < count; i++)
            generation->table(ids[i]).prefetch(ids[i]);
    for (std::size_t i = 0; i < count; i++) {
        out[i] = Found{};
        if (!ids[i].has_key()) continue;
        if (const Slot* slot = find_in_tables(ids[i]))
            out[i] = {true, Place{slot->place}, LogIndex(slot->entry)};
        else
            open[open_count++] = static_cast<std::uint8_t>(i);
    }
    return look_up_runs(ids, out, open, open_count);
}

// Run by run, so that the filter lines of the next run are on their way while this one's are looked at.
Status Index::State::look_up_runs(const Fingerprint* ids, Found* out, std::array<std::uint8_t, block_ids>& open,
                                  std::size_t count) {
    auto prefetch = [&](const RunSlot& slot) {
        if (!slot.filter) return;
        for (std::size_t i = 0; i < count; i++)
            slot.filter.prefetch(ids[open[i]]);
    };
    if (!runs.empty()) prefetch(runs[0]);
    for (std::size_t r = 0; r < runs.size() && count > 0; r++) {
        if (r + 1 < runs.size()) prefetch(runs[r + 1]);
        std::size_t kept = 0;
        for (std::size_t i = 0; i < count; i++) {
            const std::uint8_t at = open[i];
            if (!runs[r].filter || runs[r].filter.may_hold(ids[at])) TRY(find_in_run(*runs[r].run, ids[at], out[at]));
            open[kept] = at;
            kept += out[at].duplicate ? 0 : 1;
        }
        count = kept;
    }
    return {};
}

Index::Index(std::int64_t within_ms) : state_(std::make_unique<State>()) {
    CHECK(within_ms > 0);
}
Index::~Index() = default;

Status Index::look_up(const std::vector<Fingerprint>& ids, std::vector<Found>& out) {
    out.resize(ids.size());
    for (std::size_t at = 0; at < ids.size(); at += block_ids)
        TRY(state_->look_up_block(ids.data() + at, out.data() + at, std::min(block_ids, ids.size() - at)));
    return {};
}

bool Index::insert_if_new(const Fingerprint& id, Place place, LogIndex entry, Found& found) {
    CHECK(id.has_key());
    const Slot fresh{id.hi, id.lo, place.packed, entry.value};
    CHECK(state_->lives(fresh));  // what is new comes after what was covered or has expired
    if (const Slot* slot = state_->find_in_tables(id)) {
        found = {true, Place{slot->place}, LogIndex(slot->entry)};
        return false;
    }
    Generation& present = *state_->generations.front();
    if (Slot* expired = present.table(id).find(id)) {
        *expired = fresh;
        present.greatest_entry = std::max(present.greatest_entry, entry.value);
    } else {
        present.insert(fresh);
    }
    return true;
}

void Index::forget_from(LogIndex from) {
    CHECK(from.value > 0);
    for (auto& generation : state_->generations) {
        if (generation->count == 0 || generation->greatest_entry < from.value) continue;
        generation->retain([&](const Slot& slot) { return slot.entry < from.value; });
        generation->greatest_entry = from.value - 1;
    }
    // What comes in their stead is at least as new as the newest bucket that was begun; a bucket too new only keeps
    // longer.
    for (auto& mark : state_->marks)
        mark.first_entry = std::min(mark.first_entry, from.value);
    CHECK(from.value > state_->covered);  // what a checkpoint covers is committed
    state_->dead_through = std::min(state_->dead_through, from.value - 1);
}

void Index::adopt(std::vector<std::shared_ptr<const Run>> runs, LogIndex covered) {
    auto& generations = state_->generations;
    state_->covered = std::max(state_->covered, covered.value);
    Generation& present = *generations.front();
    if (present.count > 0 && present.least_entry <= state_->covered) {
        present.retain([&](const Slot& slot) { return state_->lives(slot); });
        present.least_entry = state_->covered + 1;
    }
    state_->sweepable = generations.size() - 1;
    while (state_->sweepable > 0 && generations.back()->count <= sweep_at_once_max)
        state_->sweep_table();

    std::erase_if(runs, [&](const auto& run) { return run->state().bucket <= state_->expired_through; });
    std::ranges::sort(runs, [](const auto& a, const auto& b) {
        return std::pair(a->state().bucket, a->state().number) > std::pair(b->state().bucket, b->state().number);
    });
    state_->runs.clear();
    for (auto& run : runs)
        state_->runs.push_back({std::move(run), FilterView{}});
    state_->fit_filters();
}

void Index::begin_generation() {
    if (state_->generations.front()->count == 0) return;
    // A checkpoint that began before the last one's tables were swept: at most the tables of one checkpoint are.
    while (state_->sweepable > 0)
        state_->sweep_table();
    state_->generations.push_front(std::make_unique<Generation>());
}

void Index::begin_bucket(std::int64_t bucket, LogIndex first) {
    auto& marks = state_->marks;
    if (!marks.empty() && bucket <= marks.back().bucket) return;
    marks.push_back({bucket, marks.empty() ? first.value : std::max(first.value, marks.back().first_entry)});
}

void Index::expire_through(std::int64_t bucket) {
    if (bucket <= state_->expired_through) return;
    state_->expired_through = bucket;
    std::erase_if(state_->runs, [&](const RunSlot& slot) { return slot.run->state().bucket <= bucket; });
    auto& marks = state_->marks;
    if (marks.empty() || marks.front().bucket > bucket) return;
    // Ids from before the first mark are older than it, so they go with it.
    while (!marks.empty() && marks.front().bucket <= bucket)
        marks.pop_front();
    std::uint64_t through = 0;
    if (!marks.empty())
        through = marks.front().first_entry - 1;
    else
        for (const auto& generation : state_->generations)
            through = std::max(through, generation->greatest_entry);
    state_->dead_through = std::max(state_->dead_through, through);
}

void Index::change_within(std::int64_t from_ms, std::int64_t to_ms) {
    for (RunSlot& slot : state_->runs)
        slot.run = in_bucket(slot.run, rebucketed(slot.run->state().bucket, from_ms, to_ms));
    if (state_->expired_through != INT64_MIN)
        state_->expired_through = expired_rebucketed(state_->expired_through, from_ms, to_ms);
    // Several may have become one: it begins where the first of them did.
    std::deque<State::BucketMark> marks;
    for (const State::BucketMark& mark : state_->marks) {
        const std::int64_t bucket = rebucketed(mark.bucket, from_ms, to_ms);
        if (marks.empty() || marks.back().bucket < bucket) marks.push_back({bucket, mark.first_entry});
    }
    state_->marks = std::move(marks);
}

void Index::set_memory_budget(std::size_t bytes) {
    state_->memory_budget = bytes;
    state_->fit_filters();
}

std::size_t Index::memory_bytes() const {
    std::size_t bytes = 0;
    for (const auto& generation : state_->generations) {
        bytes += sizeof(Generation);
        for (const Table& table : generation->tables)
            bytes += table.bytes();
    }
    for (const RunSlot& slot : state_->runs)
        bytes += slot.run->memory_bytes();
    return bytes;
}

std::size_t Index::wanted_bytes() const {
    std::size_t bytes = 0;
    for (const RunSlot& slot : state_->runs)
        bytes += fences_bytes(slot.run->state().count) + filter_bytes(slot.run->state().count);
    return bytes;
}

std::uint64_t Index::table_count() const {
    std::uint64_t count = 0;
    const auto& generations = state_->generations;
    for (std::size_t i = 0; i < generations.size() - state_->sweepable; i++)
        count += generations[i]->count;
    return count;
}

std::size_t Index::run_count() const {
    return state_->runs.size();
}

}  // namespace weir::dedup
