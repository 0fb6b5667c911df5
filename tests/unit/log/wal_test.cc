#include "log/wal.h"

#include "base/crc32c.h"
#include "base/prng.h"
#include "os/sim_disk.h"
#include "support/power_cut.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace weir;
using namespace weir::log;
using os::SimDisk;

namespace {

const std::string dir = "wal";

// --- what a log says, as text that can be compared

struct ModelEntry {
    std::uint64_t term = 0;
    std::uint8_t type = 0;
    std::string payload;
};
struct ModelShard {
    ShardStart start;
    std::map<std::uint64_t, ModelEntry> entries;
    std::uint64_t last() const { return entries.empty() ? start.checkpoint_index.value : entries.rbegin()->first; }
};
using Model = std::map<std::uint16_t, ModelShard>;

std::string describe(const Model& model) {
    std::string out;
    auto add = [&](std::uint64_t v) { out += std::to_string(v) + " "; };
    for (const auto& [shard, s] : model) {
        out += "shard ";
        for (std::uint64_t v : {std::uint64_t{shard}, s.start.incarnation, s.start.term.value, s.start.vote,
                                s.start.checkpoint_index.value, s.start.checkpoint_term.value}) {
            add(v);
        }
        out += s.start.membership + "\n";
        for (const auto& [index, e] : s.entries) {
            for (std::uint64_t v : {index, e.term, std::uint64_t{e.type}, std::uint64_t{e.payload.size()},
                                    std::uint64_t{crc32c(0, e.payload)}}) {
                add(v);
            }
            out += "\n";
        }
    }
    return out;
}

Model model_of(os::Disk& disk, const Wal& wal) {
    Model model;
    for (const auto& [shard, found] : wal.recovered()) {
        ModelShard& s = model[shard.value];
        s.start = found.start;
        for (const auto& entry : found.entries) {
            auto payload = read_entry(disk, dir, entry.place);
            REQUIRE(payload);
            s.entries[entry.index.value] = {entry.term.value, entry.entry_type, payload.value()};
        }
    }
    return model;
}

void apply_start(Model& model, std::uint16_t shard, const ShardStart& start) {
    auto found = model.find(shard);
    bool keeps = false;
    if (found != model.end() && found->second.start.incarnation == start.incarnation) {
        auto& s = found->second;
        auto at = s.entries.find(start.checkpoint_index.value);
        if (start.checkpoint_index == s.start.checkpoint_index) {
            keeps = start.checkpoint_term == s.start.checkpoint_term;
        } else {
            keeps = at != s.entries.end() && at->second.term == start.checkpoint_term.value;
        }
    }
    auto& s = model[shard];
    if (!keeps) s.entries.clear();
    s.start = start;
    std::erase_if(s.entries, [&](const auto& e) { return e.first <= start.checkpoint_index.value; });
}

void apply_entry(Model& model, std::uint16_t shard, std::uint64_t index, ModelEntry entry) {
    auto& entries = model[shard].entries;
    entries.erase(entries.lower_bound(index), entries.end());
    entries[index] = std::move(entry);
}

// --- one life after the other of a log on a simulated disk, beside a model

class Driver {
  public:
    Driver(SimDisk& disk, std::uint64_t seed, WalOptions options) : disk_(disk), prng_(seed), options_(options) {
        may_be_.insert(describe(model_));
    }

    // Opens; what is found must be something that may be there. False: the power was cut meanwhile.
    bool open() {
        wal_.reset();
        auto opened = Wal::open(disk_, dir, options_);
        for (int i = 0; i < 3 && !opened && opened.error().code == Errc::disk_full; i++) {
            opened = Wal::open(disk_, dir, options_);
        }
        if (!opened) {
            INFO(opened.error().detail);
            REQUIRE(opened.error().code == Errc::io);
            error_ = opened.error().detail;
            return false;
        }
        wal_ = std::move(opened).value();
        Model found = model_of(disk_, *wal_);
        wal_->forget_recovered();
        INFO("found\n" << describe(found) << "\nlatest\n" << describe(model_));
        REQUIRE(may_be_.contains(describe(found)));
        model_ = std::move(found);
        ghosts_.clear();
        durable();  // open makes what it found durable
        return true;
    }

    // One act of a random kind. False: the power was cut.
    bool act() {
        const std::uint64_t dice = prng_.below(100);
        if (model_.size() < 2 || dice < 3) return add_shard();
        if (dice < 55) return append();
        if (dice < 65) return checkpoint();
        if (dice < 70) return vote();
        if (dice < 73) return install();
        if (dice < 75) return tombstone();
        if (dice < 90) return sync();
        if (dice < 94) return full_disk();
        return restart();
    }

    bool sync() {
        if (!wal_->sync()) return false;
        durable();
        return true;
    }

    bool append(bool may_be_large = true) {
        std::vector<std::pair<std::uint16_t, std::uint64_t>> which;
        std::vector<ModelEntry> made;
        Model after = model_;
        std::vector<std::string> on_the_way;
        const std::uint64_t count = 1 + prng_.below(4);
        for (std::uint64_t i = 0; i < count; i++) {
            auto at = after.begin();
            std::advance(at, static_cast<std::ptrdiff_t>(prng_.below(after.size())));
            auto& s = at->second;
            std::uint64_t index = s.last() + 1;
            std::uint64_t term = s.entries.empty() ? s.start.checkpoint_term.value : s.entries.rbegin()->second.term;
            if (!s.entries.empty() && prng_.chance(0.1)) {  // another leader's view of the tail
                index = s.entries.begin()->first + prng_.below(s.entries.size());
                term++;
            }
            std::uint64_t bytes = prng_.chance(0.5) ? prng_.below(60) : prng_.below(3000);
            if (may_be_large && prng_.chance(0.01)) bytes = options_.file_bytes + prng_.below(5000);
            // Few kinds of payload, so that the same bytes are often written again at the same place.
            ModelEntry entry{term, static_cast<std::uint8_t>(prng_.below(3)),
                             std::string(bytes, static_cast<char>('a' + prng_.below(2)))};
            which.emplace_back(at->first, index);
            made.push_back(entry);
            apply_entry(after, at->first, index, entry);
            on_the_way.push_back(describe(after));
        }
        std::vector<WalEntry> entries;
        for (std::size_t i = 0; i < made.size(); i++) {
            std::string_view payload = made[i].payload;
            std::size_t cut = payload.size() / 3;
            entries.push_back({ShardId(which[i].first),
                               LogIndex(which[i].second),
                               Term(made[i].term),
                               made[i].type,
                               {payload.substr(0, cut), payload.substr(cut)}});
        }
        may_be_.insert(on_the_way.begin(), on_the_way.end());
        std::vector<WalPlace> places;
        auto status = wal_->append(entries, places);
        if (!status) {
            CHECK(places.empty());
            return ended(status, {on_the_way.begin(), on_the_way.end()}, after);
        }
        REQUIRE(places.size() == entries.size());
        for (std::size_t i = 0; i < places.size(); i++) {
            auto got = read_entry(disk_, dir, places[i]);
            REQUIRE(got);
            REQUIRE(got.value() == made[i].payload);
        }
        return ended(status, {}, std::move(after));
    }

    bool power_cut_and_open() {
        disk_.on_operation({});
        disk_.crash();
        bool done = open();
        INFO(error_);
        REQUIRE(done);
        return true;
    }
    Wal& wal() { return *wal_; }
    const Model& model() const { return model_; }

  private:
    void durable() {
        may_be_ = ghosts_;
        may_be_.insert(describe(model_));
    }
    // How a write that may have left `states` on the way ended. False: the power is cut.
    bool ended(const Status& status, const std::set<std::string>& states, Model after) {
        if (status) {
            ghosts_.clear();
            model_ = std::move(after);
            return true;
        }
        if (status.error().code != Errc::disk_full) return false;
        ghosts_.insert(states.begin(), states.end());
        return true;
    }

    bool start(std::uint16_t shard, const ShardStart& start) {
        Model after = model_;
        apply_start(after, shard, start);
        may_be_.insert(describe(after));
        return ended(wal_->append_start(ShardId(shard), start), {describe(after)}, after);
    }

    bool add_shard() {
        auto shard = static_cast<std::uint16_t>(prng_.below(4));
        ShardStart s;
        s.incarnation = ++incarnation_;
        s.term = Term(1 + prng_.below(3));
        s.checkpoint_index = LogIndex(prng_.below(2) * prng_.below(100));
        s.checkpoint_term = Term(1);
        s.membership = "members" + std::to_string(prng_.below(10));
        return start(shard, s);
    }
    std::uint16_t some_shard() {
        auto at = model_.begin();
        std::advance(at, static_cast<std::ptrdiff_t>(prng_.below(model_.size())));
        return at->first;
    }
    bool checkpoint() {
        auto shard = some_shard();
        auto& s = model_[shard];
        ShardStart next = s.start;
        if (!s.entries.empty()) {
            auto at = s.entries.begin();
            std::advance(at, static_cast<std::ptrdiff_t>(prng_.below(s.entries.size())));
            if (prng_.chance(0.5)) at = std::prev(s.entries.end());
            next.checkpoint_index = LogIndex(at->first);
            next.checkpoint_term = Term(at->second.term);
        }
        return start(shard, next);
    }
    bool vote() {
        auto shard = some_shard();
        ShardStart next = model_[shard].start;
        next.term = Term(next.term.value + 1);
        next.vote = prng_.below(5);
        return start(shard, next);
    }
    bool install() {
        auto shard = some_shard();
        ShardStart next = model_[shard].start;
        next.checkpoint_index = LogIndex(next.checkpoint_index.value + prng_.below(20));
        next.checkpoint_term = Term(next.checkpoint_term.value + 5);
        return start(shard, next);
    }
    bool tombstone() {
        auto shard = some_shard();
        Model after = model_;
        after.erase(shard);
        may_be_.insert(describe(after));
        return ended(wal_->append_tombstone(ShardId(shard)), {describe(after)}, after);
    }
    // The disk is full for some acts: each says disk_full or succeeds, and the log goes on afterwards.
    bool full_disk() {
        disk_.set_full(true);
        bool alive = true;
        for (std::uint64_t i = 0; alive && i <= prng_.below(3); i++)
            alive = append();
        if (alive && prng_.chance(0.3)) alive = sync();
        disk_.set_full(false);
        return alive;
    }
    bool restart() {
        const std::uint64_t how = prng_.below(4);
        if (how == 0) {  // in peace: nothing unsynced is lost either
            wal_.reset();
            may_be_.insert(describe(model_));
            return open();
        }
        if (how == 1) {  // the process dies, the page cache lives
            disk_.kill_process();
            return open();
        }
        if (how == 2) {  // a flush fails, the process ends, the page cache lies
            if (!start(model_.begin()->first, model_.begin()->second.start)) return false;
            disk_.fail_next_sync();
            auto status = wal_->append_start(ShardId(model_.begin()->first), model_.begin()->second.start);
            if (!status && status.error().code == Errc::disk_full) {
                disk_.crash();
                return open();
            }
            if (status) status = wal_->sync();
            REQUIRE_FALSE(status);
            CHECK(status.error().code == Errc::io);
            CHECK_FALSE(wal_->sync());  // and stays so
            disk_.kill_process();
            return open();
        }
        disk_.crash();
        return open();
    }

    SimDisk& disk_;
    Prng prng_;
    WalOptions options_;
    std::unique_ptr<Wal> wal_;
    Model model_;                   // what was written
    std::set<std::string> may_be_;  // what a restart may find
    std::set<std::string> ghosts_;  // of them: what writes left that a full disk ended, until the next one
    std::uint64_t incarnation_ = 0;
    std::string error_;
};

constexpr WalOptions small{.file_bytes = 32 << 10, .wal_bytes = 256 << 10};

ShardStart start_of(std::uint64_t incarnation, std::uint64_t checkpoint = 0, std::uint64_t term = 1) {
    ShardStart s;
    s.incarnation = incarnation;
    s.term = Term(term);
    s.checkpoint_index = LogIndex(checkpoint);
    s.checkpoint_term = Term(term);
    return s;
}

Result<WalPlace> put(Wal& wal, std::uint16_t shard, std::uint64_t index, std::uint64_t term, std::string_view payload) {
    std::vector<WalPlace> places;
    TRY(wal.append({{ShardId(shard), LogIndex(index), Term(term), 1, {payload}}}, places));
    return places.at(0);
}

std::unique_ptr<Wal> must_open(os::Disk& disk, WalOptions options = small) {
    auto wal = Wal::open(disk, dir, options);
    INFO((wal ? std::string() : wal.error().detail));
    REQUIRE(wal);
    return std::move(wal).value();
}

}  // namespace

TEST_CASE(
    "rule: one write-ahead log, reused files: random lives with power cuts, kills, failed flushes and full disks read "
    "as they were written",
    "[rule]") {
    std::uint64_t operations = 0;
    for (std::uint64_t seed = 1; seed <= 150; seed++) {
        INFO("seed " << seed);
        SimDisk disk(seed, {.sector_survival = seed % 3 == 0 ? 0.9 : 0.5,
                            .name_survival = 0.5,
                            .write_back = seed % 2 ? 0.05 : 0,
                            .drops_cache = seed % 4 != 3});
        Driver driver(disk, seed * 7919, small);
        REQUIRE(driver.open());
        for (int i = 0; i < 150; i++)
            REQUIRE(driver.act());
        REQUIRE(driver.power_cut_and_open());
        operations += disk.operations();
    }
    CHECK(operations > 10'000);
}

TEST_CASE("wal: the power is cut at every operation of a run") {
    std::uint64_t cuts = 0;
    for (std::uint64_t seed = 1; seed <= 6; seed++) {
        INFO("seed " << seed);
        const auto round = [&](test::PowerCut& power) {
            Driver driver(power.disk, seed, small);
            power.arm();
            bool alive = driver.open();
            int acts = 0;
            while (alive && acts < 60) {
                alive = driver.act();
                acts++;
            }
            if (alive) return;
            // A second cut, during the recovery from the first or soon after.
            power.restart();
            power.arm(1 + power.at() % 7);
            alive = driver.open();
            while (alive)
                alive = driver.act();
            REQUIRE(driver.power_cut_and_open());
            for (int i = 0; i < 10; i++)
                REQUIRE(driver.act());
            REQUIRE(driver.sync());
            REQUIRE(driver.power_cut_and_open());
        };
        cuts += test::cut_power_at_every_operation({.write_back = 0.02}, round, seed * 100'000);
    }
    CHECK(cuts > 400);
}

TEST_CASE("wal: a full disk at each write, then on") {
    for (std::uint64_t seed = 1; seed <= 3; seed++) {
        for (std::uint64_t at = 1; at < 160; at++) {
            SimDisk disk(seed * 1000 + at, {});
            Driver driver(disk, seed, small);
            disk.on_operation([&] {
                disk.set_full(disk.operations() == at);
                return true;
            });
            auto opened = Wal::open(disk, dir, small);  // the very first operations may be what meets it
            if (!opened) {
                CHECK(opened.error().code == Errc::disk_full);
                disk.on_operation({});
                disk.set_full(false);
            } else {
                opened.value().reset();
            }
            REQUIRE(driver.open());
            for (int i = 0; i < 40; i++)
                REQUIRE(driver.act());
            disk.on_operation({});
            disk.set_full(false);
            REQUIRE(driver.power_cut_and_open());
            for (int i = 0; i < 10; i++)
                REQUIRE(driver.act());
            REQUIRE(driver.power_cut_and_open());
        }
    }
}

TEST_CASE(
    "rule: one write-ahead log, reused files: files are used again, and above wal_bytes the shard that pins the oldest "
    "is named, busy or idle",
    "[rule]") {
    SimDisk disk(1, {});
    auto wal = must_open(disk);
    REQUIRE(wal->append_start(ShardId(0), start_of(1)));
    REQUIRE(wal->append_start(ShardId(7), start_of(2)));
    const std::string payload(5000, 'x');
    REQUIRE(put(*wal, 7, 1, 1, "idle"));
    ShardId which;
    std::uint64_t index = 0;
    while (!wal->wants_checkpoint(which))
        REQUIRE(put(*wal, 0, ++index, 1, payload));
    // Both pin the oldest file; in turn each is named.
    std::set<std::uint16_t> named;
    while (wal->wants_checkpoint(which)) {
        named.insert(which.value);
        REQUIRE(wal->append_start(which, start_of(which.value == 0 ? 1 : 2, which.value == 0 ? index : 1)));
        REQUIRE(named.size() <= 2);
    }
    CHECK(named == std::set<std::uint16_t>{0, 7});
    CHECK(wal->bytes_in_use() == small.file_bytes);
    std::size_t files_max = 0;
    for (int i = 0; i < 300; i++) {
        REQUIRE(put(*wal, 0, ++index, 1, payload));
        if (i % 20 == 19) {
            REQUIRE(wal->append_start(ShardId(0), start_of(1, index)));
            files_max = std::max(files_max, disk.list(dir).value().size());
        }
    }
    CHECK(files_max <= 12);
    wal.reset();
    wal = must_open(disk);
    CHECK(wal->recovered().at(ShardId(0)).start.checkpoint_index == LogIndex(index));
    CHECK(wal->recovered().at(ShardId(0)).entries.empty());
    CHECK(wal->recovered().at(ShardId(7)).start.incarnation == 2);
    wal.reset();
    CHECK(disk.list(dir).value().size() <= 8);
}

TEST_CASE("rule: one write-ahead log, reused files: what a reused file held earlier never reads as valid", "[rule]") {
    // Large records that end with their page, at the same places in every file: right behind today's last one stands,
    // whole, one that the file held before.
    constexpr WalOptions large{.file_bytes = 4 << 20, .wal_bytes = 64 << 20};
    for (std::uint64_t left = 4; left <= 8; left++) {
        SimDisk disk(left, {});
        auto wal = must_open(disk, large);
        REQUIRE(wal->append_start(ShardId(0), start_of(1)));
        std::uint64_t index = 0, end = 0, in_file = 0;
        WalPlace place;
        std::set<std::uint32_t> full;  // slots
        bool is_reused = false;
        while (!is_reused || in_file < left) {
            const WalPlace before = place;
            const std::string payload((300 << 10) - (end + 28) % 4096, 'x');
            place = put(*wal, 0, ++index, 1, payload).value();
            end = place.offset + 28 + place.length;
            in_file++;
            if (place.sequence == before.sequence) continue;
            if (before.sequence > 0) full.insert(before.slot);
            in_file = 1;
            is_reused = full.contains(place.slot);
            REQUIRE(wal->append_start(ShardId(0), start_of(1, index - 1)));
        }
        REQUIRE(wal->sync());
        const auto bytes = os::read_file(disk, dir + "/" + std::to_string(place.slot) + ".wal", 8 << 20).value();
        REQUIRE(end % 4096 == 0);
        REQUIRE(bytes.substr(end + 28, 1000) == std::string(1000, 'x'));
        disk.crash();
        wal = must_open(disk, large);
        const auto& shard = wal->recovered().at(ShardId(0));
        CHECK(shard.start.checkpoint_index.value == index - left);
        REQUIRE(shard.entries.size() == left);
        for (std::size_t i = 0; i < left; i++)
            CHECK(shard.entries[i].index.value == index - left + 1 + i);
    }
}

TEST_CASE(
    "rule: one write-ahead log, reused files: each file opens with every shard's incarnation, term, vote, membership "
    "and "
    "checkpoint",
    "[rule]") {
    SimDisk disk(5, {});
    auto wal = must_open(disk);
    std::map<std::uint16_t, ShardStart> want;
    for (std::uint16_t shard : {std::uint16_t{0}, std::uint16_t{3}, std::uint16_t{9}}) {
        ShardStart s = start_of(70u + shard, 4u * shard, 5u + shard);
        s.vote = 2u + shard;
        s.membership = "members of " + std::to_string(shard);
        s.checkpoint_term = Term(4);
        want[shard] = s;
        REQUIRE(wal->append_start(ShardId(shard), s));
    }
    const auto before = disk.list(dir).value();
    WalPlace place;
    for (std::uint64_t i = 1; disk.list(dir).value() == before || i < 3; i++)
        place = put(*wal, 0, i, 5, std::string(6000, 'x')).value();
    want[0].checkpoint_index = LogIndex(3);
    want[0].checkpoint_term = Term(5);
    for (std::uint64_t i = 4; i <= 20; i++) {
        REQUIRE(wal->append_start(ShardId(0), want[0]));
        place = put(*wal, 0, i, 5, std::string(6000, 'x')).value();
        want[0].checkpoint_index = LogIndex(i);
    }
    REQUIRE(wal->append_start(ShardId(0), want[0]));
    REQUIRE(wal->sync());
    wal.reset();
    // The newest file alone tells all of it.
    const std::string newest = std::to_string(place.slot) + ".wal";
    const auto names = disk.list(dir).value();
    CHECK(names.size() > 1);
    for (const auto& name : names)
        if (name != newest) REQUIRE(disk.remove(dir + "/" + name));
    wal = must_open(disk);
    REQUIRE(wal->recovered().size() == 3);
    for (const auto& [shard, s] : want) {
        const auto& found = wal->recovered().at(ShardId(shard)).start;
        INFO("shard " << shard);
        CHECK(found.incarnation == s.incarnation);
        CHECK(found.term == s.term);
        CHECK(found.vote == s.vote);
        CHECK(found.membership == s.membership);
        CHECK(found.checkpoint_index == s.checkpoint_index);
        CHECK(found.checkpoint_term == s.checkpoint_term);
    }
}

TEST_CASE(
    "rule: one write-ahead log, reused files: a file is used again only when the header that gives it up is durable",
    "[rule]") {
    // Nothing that was not flushed survives: whatever a reuse overwrites too early is missed.
    std::size_t files_max = 0;
    const auto round = [&](test::PowerCut& power) {
        SimDisk& disk = power.disk;
        std::uint64_t synced = 0, checkpoint = 0;
        bool begun = false;
        auto live = [&]() -> Status {
            auto wal = TRY(Wal::open(disk, dir, small));
            TRY(wal->append_start(ShardId(0), start_of(1)));
            TRY(wal->sync());
            begun = true;
            for (std::uint64_t i = 1; i <= 60; i++) {
                TRY(put(*wal, 0, i, 1, std::string(5000, static_cast<char>('a' + i % 26))));
                TRY(wal->sync());
                synced = i;
                // Not flushed by itself: the next file's header is what makes it so.
                if (i % 4 == 0) TRY(wal->append_start(ShardId(0), start_of(1, i - 2)));
                if (i % 4 == 0) checkpoint = i - 2;
                files_max = std::max(files_max, disk.list(dir).value().size());
            }
            return {};
        };
        power.arm();
        (void)live();
        power.restart();
        auto wal = must_open(disk);
        if (begun) {
            const auto& shard = wal->recovered().at(ShardId(0));
            const std::uint64_t kept = shard.start.checkpoint_index.value;
            CHECK(kept <= checkpoint);
            REQUIRE(kept + shard.entries.size() >= synced);
            for (std::size_t i = 0; i < shard.entries.size(); i++) {
                REQUIRE(shard.entries[i].index == LogIndex(kept + 1 + i));
                REQUIRE(read_entry(disk, dir, shard.entries[i].place).value() ==
                        std::string(5000, static_cast<char>('a' + (kept + 1 + i) % 26)));
            }
        }
    };
    const std::uint64_t cuts = test::cut_power_at_every_operation({.sector_survival = 0, .name_survival = 0}, round);
    CHECK(files_max <= 5);  // of 300 kB in files of 32 KiB: they were used again
    CHECK(cuts > 150);
}

TEST_CASE("rule: one write-ahead log, reused files: a removed shard leaves a tombstone, and pins nothing", "[rule]") {
    SimDisk disk(1, {});
    auto wal = must_open(disk, {.file_bytes = 32 << 10, .wal_bytes = 64 << 10});
    for (std::uint16_t shard : {std::uint16_t{0}, std::uint16_t{4}}) {
        REQUIRE(wal->append_start(ShardId(shard), start_of(7)));
        REQUIRE(put(*wal, shard, 1, 1, "of shard " + std::to_string(shard)));
    }
    std::uint64_t index = 1;
    ShardId which;
    while (!wal->wants_checkpoint(which))
        REQUIRE(put(*wal, 0, ++index, 1, std::string(5000, 'x')));
    REQUIRE(wal->append_start(ShardId(0), start_of(7, index)));
    REQUIRE(wal->wants_checkpoint(which));
    CHECK(which == ShardId(4));  // idle, and its entry pins the oldest file
    REQUIRE(wal->append_tombstone(ShardId(4)));
    CHECK_FALSE(wal->wants_checkpoint(which));
    CHECK(wal->bytes_in_use() == 32 << 10);
    REQUIRE(wal->sync());
    disk.crash();
    wal = must_open(disk);
    CHECK(wal->recovered().size() == 1);
    CHECK(put(*wal, 4, 2, 1, "x").error().code == Errc::invalid_argument);
    // Another life of the same number begins anew; the old one's entries, which may still stand in some file, stay
    // away.
    REQUIRE(wal->append_start(ShardId(4), start_of(8)));
    REQUIRE(wal->sync());
    wal.reset();
    wal = must_open(disk);
    CHECK(wal->recovered().at(ShardId(4)).start.incarnation == 8);
    CHECK(wal->recovered().at(ShardId(4)).entries.empty());
}

TEST_CASE("wal: superseded entries do not pin files") {
    SimDisk disk(1, {});
    auto wal = must_open(disk, {.file_bytes = 32 << 10, .wal_bytes = 64 << 10});
    REQUIRE(wal->append_start(ShardId(0), start_of(1)));
    const std::string payload(5000, 'x');
    for (std::uint64_t i = 1; i <= 30; i++)
        REQUIRE(put(*wal, 0, i, 1, payload));
    REQUIRE(put(*wal, 0, 3, 2, "new leader"));
    REQUIRE(wal->append_start(ShardId(0), [] {
        auto s = start_of(1, 3);
        s.checkpoint_term = Term(2);
        return s;
    }()));
    ShardId which;
    CHECK_FALSE(wal->wants_checkpoint(which));
    CHECK(wal->bytes_in_use() == 32 << 10);
}

TEST_CASE("wal: what append and append_start refuse") {
    SimDisk disk(1, {});
    auto wal = must_open(disk);
    auto refuses = [&](std::uint16_t shard, std::uint64_t index, bool want) {
        auto got = put(*wal, shard, index, 1, "x");
        CHECK(got.has_value() != want);
        if (!got) CHECK(got.error().code == Errc::invalid_argument);
    };
    refuses(0, 1, true);  // no start yet
    REQUIRE(wal->append_start(ShardId(0), start_of(1, 10)));
    refuses(0, 10, true);  // at the checkpoint
    refuses(0, 12, true);  // leaves one out
    refuses(0, 11, false);
    refuses(0, 11, false);  // supersedes
    refuses(0, 12, false);
    CHECK(wal->append_start(ShardId(0), start_of(1, 9)).error().code == Errc::invalid_argument);
    REQUIRE(wal->append_start(ShardId(0), start_of(2, 9)));  // another incarnation begins anew
    refuses(0, 11, true);
    refuses(0, 10, false);
    CHECK(wal->append_tombstone(ShardId(5)).error().code == Errc::not_found);
    ShardStart large = start_of(3);
    large.membership.resize((256 << 10) + 1);
    CHECK(wal->append_start(ShardId(1), large).error().code == Errc::too_large);
    large.membership.pop_back();
    REQUIRE(wal->append_start(ShardId(1), large));
    wal.reset();
    wal = must_open(disk);
    CHECK(wal->recovered().at(ShardId(1)).start.membership.size() == 256 << 10);
    std::vector<WalPlace> places;
    REQUIRE(wal->append({}, places));
}

TEST_CASE("wal: an installed checkpoint keeps entries only where they are the same log's") {
    auto left = [](std::uint64_t index, std::uint64_t term) {
        SimDisk disk(1, {});
        auto wal = must_open(disk);
        REQUIRE(wal->append_start(ShardId(0), start_of(1)));
        for (std::uint64_t i = 1; i <= 5; i++)
            REQUIRE(put(*wal, 0, i, i < 3 ? 1 : 2, "x"));
        auto s = start_of(1, index);
        s.checkpoint_term = Term(term);
        REQUIRE(wal->append_start(ShardId(0), s));
        wal.reset();
        wal = must_open(disk);
        return wal->recovered().at(ShardId(0)).entries.size();
    };
    CHECK(left(2, 1) == 3);
    CHECK(left(3, 2) == 2);
    CHECK(left(5, 2) == 0);
    CHECK(left(3, 1) == 0);  // another entry 3: ours do not follow it
    CHECK(left(6, 2) == 0);
    CHECK(left(0, 1) == 5);
}

TEST_CASE("rule: one write-ahead log, reused files: a reader of an entry tells a reused file from a rotten one",
          "[rule]") {
    SimDisk disk(1, {});
    auto wal = must_open(disk);
    REQUIRE(wal->append_start(ShardId(0), start_of(1)));
    const std::string payload(5000, 'x');
    auto first = put(*wal, 0, 1, 1, payload);
    REQUIRE(first);
    CHECK(read_entry(disk, dir, first.value()).value() == payload);
    WalPlace wrong = first.value();
    wrong.previous_crc++;
    CHECK(read_entry(disk, dir, wrong).error().code == Errc::corrupt);
    wrong = first.value();
    wrong.slot = 99;
    CHECK(read_entry(disk, dir, wrong).error().code == Errc::not_found);
    wrong = first.value();
    wrong.length = UINT32_MAX;
    CHECK(read_entry(disk, dir, wrong).error().code == Errc::invalid_argument);
    wrong.length = 1 << 20;
    CHECK(read_entry(disk, dir, wrong).error().code == Errc::corrupt);
    const std::string path = dir + "/" + std::to_string(first.value().slot) + ".wal";
    disk.flip_bit(path, (first.value().offset + 100) * 8);
    CHECK(read_entry(disk, dir, first.value()).error().code == Errc::corrupt);
    disk.flip_bit(path, (first.value().offset + 100) * 8);
    for (std::uint64_t i = 2; i < 60; i++) {
        REQUIRE(put(*wal, 0, i, 1, std::string(5000, 'y')));
        REQUIRE(wal->append_start(ShardId(0), start_of(1, i)));
    }
    CHECK(read_entry(disk, dir, first.value()).error().code == Errc::not_found);
}

TEST_CASE("wal: one flipped bit of synced data is reported or harmless") {
    for (bool in_peace : {true, false}) {
        std::string whole;     // what was synced
        std::string but_last;  // without the last flush: after a power cut nothing tells its rot from a torn tail
        auto build = [&] {
            auto disk = std::make_unique<SimDisk>(3, os::SimDiskOptions{});
            auto wal = must_open(*disk);
            Model model;
            for (std::uint16_t shard : {std::uint16_t{0}, std::uint16_t{3}}) {
                REQUIRE(wal->append_start(ShardId(shard), start_of(1)));
                apply_start(model, shard, start_of(1));
            }
            for (std::uint64_t i = 1; i <= 45; i++) {
                but_last = describe(model);
                const std::string payload(500 + i * 40, static_cast<char>('a' + i % 20));
                const auto shard = static_cast<std::uint16_t>(i % 2 * 3);
                REQUIRE(put(*wal, shard, (i + 1) / 2, 1, payload));
                apply_entry(model, shard, (i + 1) / 2, {1, 1, payload});
                REQUIRE(wal->sync());
            }
            whole = describe(model);
            if (in_peace) {
                wal.reset();
            } else {
                disk->crash();
            }
            return disk;
        };
        auto disk = build();
        const auto names = disk->list(dir).value();
        CHECK(names.size() >= 3);
        int reported = 0;
        int harmless = 0;
        std::vector<std::pair<std::string, std::uint64_t>> bits;
        for (const auto& name : names) {
            for (std::uint64_t bit = 0; bit < 72 * 8; bit += 7) {
                bits.emplace_back(name, bit);
                bits.emplace_back(name, 4096 * 8 + bit);
            }
            for (std::uint64_t bit = 8192 * 8; bit < (8192 + 600) * 8; bit += 41)
                bits.emplace_back(name, bit);
            for (std::uint64_t bit = 8192 * 8; bit < (32 << 10) * 8; bit += 499)
                bits.emplace_back(name, bit);
        }
        for (const auto& [name, bit] : bits) {
            INFO((in_peace ? "in peace " : "power cut ") << name << " byte " << bit / 8 << " bit " << bit % 8);
            disk->flip_bit(dir + "/" + name, bit);
            auto opened = Wal::open(*disk, dir, small);
            if (!opened) {
                REQUIRE(opened.error().code == Errc::corrupt);
                REQUIRE(opened.error().detail.find(".wal") != std::string::npos);
                disk->flip_bit(dir + "/" + name, bit);
                reported++;
                continue;
            }
            const std::string found = describe(model_of(*disk, *opened.value()));
            if (found != whole) REQUIRE((!in_peace && found == but_last));
            harmless++;
            opened.value().reset();
            disk = build();
        }
        CHECK(reported > 700);
        CHECK(harmless > 100);
    }
}

TEST_CASE("wal: rot in the last record of a file that was left is reported, though no gap betrays it") {
    SimDisk disk(3, {});
    auto wal = must_open(disk);
    REQUIRE(wal->append_start(ShardId(0), start_of(1)));
    REQUIRE(wal->append_start(ShardId(9), start_of(1)));
    WalPlace last;
    for (std::uint64_t i = 1; i <= 3; i++)
        last = put(*wal, 9, i, 1, std::string(6000, 'x')).value();
    auto next = put(*wal, 0, 1, 1, std::string(9000, 'y'));
    REQUIRE(next);
    REQUIRE(next.value().slot != last.slot);
    wal.reset();
    disk.flip_bit(dir + "/" + std::to_string(last.slot) + ".wal", (last.offset + 5000) * 8);
    CHECK(Wal::open(disk, dir, small).error().code == Errc::corrupt);
    disk.flip_bit(dir + "/" + std::to_string(last.slot) + ".wal", (last.offset + 5000) * 8);
    CHECK(must_open(disk)->recovered().at(ShardId(9)).entries.size() == 3);
}

TEST_CASE("wal: a file that is needed and missing is reported") {
    SimDisk disk(3, {});
    auto wal = must_open(disk);
    REQUIRE(wal->append_start(ShardId(0), start_of(1)));
    for (std::uint64_t i = 1; i <= 20; i++)
        REQUIRE(put(*wal, 0, i, 1, std::string(5000, 'x')));
    wal.reset();
    auto names = disk.list(dir).value();
    REQUIRE(names == std::vector<std::string>{"0.wal", "1.wal", "2.wal", "3.wal", "4.wal"});
    names.pop_back();  // that the newest is missing shows only where a later one names it
    // Cut short is not the same as never finished.
    for (std::uint64_t bytes : {0u, 8192u, 9000u}) {
        SimDisk other(4, {});
        auto short_wal = must_open(other);
        REQUIRE(short_wal->append_start(ShardId(0), start_of(1)));
        REQUIRE(put(*short_wal, 0, 1, 1, std::string(2000, 'x')));
        short_wal.reset();
        REQUIRE(other.open(dir + "/0.wal", os::OpenMode::write).value()->truncate(bytes));
        auto opened = Wal::open(other, dir, small);
        // All gone, as if there had never been one, is what nothing can tell from a first start.
        if (bytes > 8192) {
            REQUIRE_FALSE(opened);
            CHECK(opened.error().code == Errc::corrupt);
        }
    }
    for (const auto& name : names) {
        REQUIRE(disk.rename(dir + "/" + name, "aside"));
        auto opened = Wal::open(disk, dir, small);
        REQUIRE_FALSE(opened);
        CHECK(opened.error().code == Errc::corrupt);
        REQUIRE(disk.rename("aside", dir + "/" + name));
    }
    CHECK(must_open(disk)->recovered().at(ShardId(0)).entries.size() == 20);
}

TEST_CASE(
    "rule: one write-ahead log, reused files: what a failed write or a torn tail left never reads as valid, not behind "
    "the same bytes either",
    "[rule]") {
    // The same entry is written again at the same place; its old successor still stands behind it.
    std::string payload(1000, 'a');
    for (bool by_full_disk : {true, false}) {
        int stale_there = 0;
        for (std::uint64_t seed = 0; seed < 60; seed++) {
            SimDisk disk(seed, {.sector_survival = by_full_disk ? 0.0 : 0.6});
            auto wal = must_open(disk);
            REQUIRE(wal->append_start(ShardId(0), start_of(1)));
            REQUIRE(wal->sync());
            std::vector<WalPlace> places;
            if (by_full_disk) {
                auto first = put(*wal, 0, 1, 1, "its mark still holds for what comes before the next flush");
                REQUIRE(first);
                // The zeros that fill the page up would hide what follows, were there any: the entry ends with its
                // page.
                payload.assign(8192 + 4096 - first.value().offset - 28 - first.value().length - 28, 'a');
                disk.set_full(true);
                std::vector<WalEntry> two;
                for (std::uint64_t i = 2; i <= 3; i++)
                    two.push_back({ShardId(0), LogIndex(i), Term(1), 1, {payload}});
                CHECK(wal->append(two, places).error().code == Errc::disk_full);
                disk.set_full(false);
            } else {
                REQUIRE(put(*wal, 0, 1, 1, payload));
                REQUIRE(put(*wal, 0, 2, 1, payload));
                disk.crash();
                wal = must_open(disk);
                if (!wal->recovered().at(ShardId(0)).entries.empty()) continue;  // not torn before the first
                stale_there++;
            }
            REQUIRE(put(*wal, 0, by_full_disk ? 2 : 1, 1, payload));
            REQUIRE(wal->sync());
            disk.crash();
            wal = must_open(disk);
            CHECK(wal->recovered().at(ShardId(0)).entries.size() == (by_full_disk ? 2 : 1));
        }
        if (!by_full_disk) CHECK(stale_there > 10);
    }
}

TEST_CASE("wal: an opening of a file that failed does not cut off what is written afterwards") {
    const std::string large(20'000, 'L');
    int refused = 0;
    for (std::uint64_t seed = 0; seed < 60; seed++) {
        SimDisk disk(seed, {.sector_survival = 0.9});
        auto wal = must_open(disk);
        REQUIRE(wal->append_start(ShardId(0), start_of(1)));
        std::uint64_t index = 0;
        for (int i = 0; i < 4; i++) {  // leaves spare files, and one that is half full
            REQUIRE(put(*wal, 0, ++index, 1, large));
            REQUIRE(wal->append_start(ShardId(0), start_of(1, index)));
        }
        REQUIRE(put(*wal, 0, ++index, 1, "before"));
        REQUIRE(wal->sync());
        disk.set_full(true);
        CHECK(put(*wal, 0, index + 1, 1, large).error().code == Errc::disk_full);
        disk.set_full(seed % 2 == 0);
        auto small_one = put(*wal, 0, index + 1, 1, "after");
        if (small_one) {
            index++;
            REQUIRE(wal->sync());
        } else {
            CHECK(small_one.error().code == Errc::disk_full);
            refused++;
        }
        disk.set_full(false);
        disk.crash();
        wal = must_open(disk);
        const auto& shard = wal->recovered().at(ShardId(0));
        CHECK(shard.start.checkpoint_index.value + shard.entries.size() == index);
    }
    CHECK(refused > 10);
}

TEST_CASE("wal: the flush that opens a file fails, the process starts again in the same boot, then the power goes") {
    for (std::uint64_t seed = 0; seed < 60; seed++) {
        SimDisk disk(seed, {.drops_cache = seed % 2 == 0});
        auto wal = must_open(disk);
        if (seed % 3 != 0) REQUIRE(wal->append_start(ShardId(0), start_of(1)));
        const std::uint64_t count = seed % 3 != 0 ? 3 : 0;
        for (std::uint64_t i = 1; i <= count; i++)
            REQUIRE(put(*wal, 0, i, 1, std::string(6000, 'x')));
        REQUIRE(wal->sync());
        if (count > 0) {
            disk.fail_next_sync();
            CHECK(put(*wal, 0, count + 1, 1, std::string(9000, 'y')).error().code == Errc::io);
            CHECK(wal->sync().error().code == Errc::io);
            disk.kill_process();
            wal = must_open(disk);
            CHECK(wal->recovered().at(ShardId(0)).entries.size() == count);
            REQUIRE(put(*wal, 0, count + 1, 1, "z"));
        } else {
            REQUIRE(wal->append_start(ShardId(0), start_of(1)));
            REQUIRE(put(*wal, 0, 1, 1, "z"));
        }
        REQUIRE(wal->sync());
        disk.crash();
        wal = must_open(disk);
        CHECK(wal->recovered().at(ShardId(0)).entries.size() == count + 1);
    }
}

TEST_CASE("wal: an entry larger than a file gets a file that is large enough, and that one is not kept") {
    SimDisk disk(1, {});
    auto wal = must_open(disk);
    REQUIRE(wal->append_start(ShardId(0), start_of(1)));
    const std::string large(200'000, 'L');
    auto place = put(*wal, 0, 1, 1, large);
    REQUIRE(place);
    CHECK(read_entry(disk, dir, place.value()).value() == large);
    REQUIRE(put(*wal, 0, 2, 1, "small"));
    wal.reset();
    wal = must_open(disk);
    REQUIRE(wal->recovered().at(ShardId(0)).entries.size() == 2);
    CHECK(read_entry(disk, dir, wal->recovered().at(ShardId(0)).entries[0].place).value() == large);
    REQUIRE(wal->append_start(ShardId(0), start_of(1, 2)));
    REQUIRE(put(*wal, 0, 3, 1, std::string(30'000, 'x')));
    CHECK(disk.used_bytes() < 150'000);
}

TEST_CASE("wal: opening again and again, also on a full disk, needs no room") {
    SimDisk disk(1, {});
    auto wal = must_open(disk);
    REQUIRE(wal->append_start(ShardId(0), start_of(1)));
    std::uint64_t index = 0;
    disk.set_capacity(disk.used_bytes());
    while (put(*wal, 0, index + 1, 1, std::string(900, 'x')))
        index++;
    CHECK(index > 15);
    for (int i = 0; i < 20; i++) {
        wal.reset();
        wal = must_open(disk);
        CHECK(wal->recovered().at(ShardId(0)).entries.size() == index);
    }
    auto refused = put(*wal, 0, index + 1, 1, std::string(900, 'x'));
    CHECK(refused.error().code == Errc::disk_full);
    disk.set_capacity(1 << 20);
    for (int i = 0; i < 100; i++) {
        wal.reset();
        wal = must_open(disk);
    }
    REQUIRE(put(*wal, 0, index + 1, 1, "x"));
}

TEST_CASE("wal: foreign and blank files do no harm") {
    SimDisk disk(1, {});
    REQUIRE(disk.make_dirs(dir));
    for (const char* name : {"notes.txt", "01.wal", "x.wal", ".wal", "1.wal.bak", "99999999999.wal"}) {
        REQUIRE(os::replace_file(disk, dir + "/" + name, "hello"));
    }
    REQUIRE(os::replace_file(disk, dir + "/4.wal", ""));
    REQUIRE(os::replace_file(disk, dir + "/5.wal", std::string(100, '\0')));
    auto wal = must_open(disk);
    REQUIRE(wal->append_start(ShardId(0), start_of(1)));
    wal.reset();
    CHECK(os::read_file(disk, dir + "/notes.txt", 10).value() == "hello");
    CHECK(os::read_file(disk, dir + "/99999999999.wal", 10).value() == "hello");
    wal = must_open(disk);
    CHECK(wal->recovered().size() == 1);
    wal.reset();
    REQUIRE(os::replace_file(disk, dir + "/5.wal", "not a log"));
    CHECK(Wal::open(disk, dir, small).error().code == Errc::corrupt);
}

TEST_CASE("wal: golden bytes") {
    SimDisk disk(1, {});
    auto wal = must_open(disk);
    auto s = start_of(0x0102030405060708, 9, 3);
    s.vote = 77;
    s.membership = "abc";
    REQUIRE(wal->append_start(ShardId(258), s));
    auto place = put(*wal, 258, 10, 3, "payload");
    REQUIRE(place);
    REQUIRE(wal->sync());
    const std::string bytes = os::read_file(disk, dir + "/0.wal", 1 << 20).value();
    CHECK(bytes.substr(0, 8) == "WEIRWAL1");
    CHECK(bytes.substr(0, 72) == bytes.substr(4096, 72));
    CHECK(place.value().sequence == 1);
    auto hex = [](const std::string& in) {
        std::string out;
        for (const char byte : in) {
            const auto c = static_cast<unsigned char>(byte);
            for (int shift : {4, 0})
                out.push_back("0123456789abcdef"[c >> shift & 15]);
        }
        return out;
    };
    CHECK(hex(bytes.substr(place.value().offset, 28)) == "07000000e48bb701010102010a000000000000000300000000000000");
    CHECK(bytes.substr(place.value().offset + 28, 7) == "payload");
    CHECK(crc32c(0, std::string_view(bytes).substr(0, place.value().offset + 35)) == 2473542478u);
}
