// Group over libraft's raft_step (raft_core.h). The engine keeps terms and indices only; what it does not keep, and the
// guards against what it gets wrong or leaves to its driver, stand here:
//
//   G1  a peer's messages are FIFO with an epoch per connection             the caller's
//   G2  an append that begins below the checkpoint starts at it             reanchor()
//   G3  a vote's result is for candidates only                              receive()
//   G4  a refused pre-vote tells the voter's term, not the asker's          send()
//   G5  a change entry travels alone                                        receive_append()
//   G6  one change of membership at a time, all voters caught up            there are no changes yet
//   G7  only what is still in the log counts as persisted                   persisted()
//   G8  a failed write or fsync ends the process                            the caller's
//   G9  who is no voter votes, and forgets a dead leader                    raft_core.c
//   G10 who is the only voter starts a new term                             begin()
//
// Beyond them nothing is passed on that a correct peer cannot send: the engine is built without assertions, and its
// bookkeeping would wrap.
#include "consensus/group.h"

#include "base/check.h"
#include "base/limits.h"
#include "consensus/message.h"
#include "consensus/raft_core.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

namespace weir::consensus {
namespace {

constexpr std::uint32_t inflight_entries_max = 1024;
static_assert(inflight_entries_max <= message_entries_max);
constexpr std::size_t message_bytes_target = 2 * limits::entry_bytes_target;
constexpr std::uint64_t never_ms = std::numeric_limits<std::uint64_t>::max();

static_assert(static_cast<int>(EntryType::command) == RAFT_CORE_COMMAND);
static_assert(static_cast<int>(EntryType::barrier) == RAFT_CORE_BARRIER);
static_assert(static_cast<int>(EntryType::change) == RAFT_CORE_CHANGE);

struct FreeCore {
    void operator()(raft_core* core) const { raft_core_free(core); }
};

// A Membership as the engine's seam takes it; borrows the strings.
class CoreMembership {
  public:
    explicit CoreMembership(const Membership& from) {
        for (const auto& v : from.voters)
            servers_.push_back({v.id, v.address.c_str()});
    }
    raft_core_membership get() const { return {servers_.data(), static_cast<unsigned>(servers_.size())}; }

  private:
    std::vector<raft_core_server> servers_;
};

// Which term each index has: one run a term.
class Trail {
  public:
    Trail(std::uint64_t base_index, std::uint64_t base_term)
        : base_index_(base_index), base_term_(base_term), last_(base_index) {}
    std::uint64_t base_index() const { return base_index_; }
    std::uint64_t last() const { return last_; }
    std::uint64_t term_at(std::uint64_t index) const {
        if (index == base_index_) return base_term_;
        if (index < base_index_ || index > last_) return 0;
        auto run = std::upper_bound(runs_.begin(), runs_.end(), index,
                                    [](std::uint64_t i, const Run& r) { return i < r.first; });
        return std::prev(run)->term;
    }
    void append(std::uint64_t term) {
        last_++;
        if (runs_.empty() || runs_.back().term != term) runs_.push_back({last_, term});
    }
    void truncate_from(std::uint64_t index) {
        CHECK(index > base_index_);
        while (!runs_.empty() && runs_.back().first >= index)
            runs_.pop_back();
        last_ = std::min(last_, index - 1);
    }
    void cut_up_to(std::uint64_t index) {
        CHECK(index > base_index_ && index <= last_);
        base_term_ = term_at(index);
        base_index_ = index;
        while (runs_.size() > 1 && runs_[1].first <= index + 1)
            runs_.erase(runs_.begin());
        if (last_ == index)
            runs_.clear();
        else
            runs_.front().first = std::max(runs_.front().first, index + 1);
    }

  private:
    struct Run {
        std::uint64_t first;
        std::uint64_t term;
    };
    std::uint64_t base_index_, base_term_, last_;
    std::vector<Run> runs_;
};

class RaftGroup final : public Group {
  public:
    RaftGroup(const GroupOptions& options, std::unique_ptr<raft_core, FreeCore> core, const Restored& restored,
              const Membership& membership, bool is_new)
        : options_(options),
          core_(std::move(core)),
          trail_(restored.checkpoint_index.value, restored.checkpoint_term.value),
          membership_(membership),
          checkpoint_membership_(membership),
          checkpoint_membership_index_(restored.checkpoint_index.value),
          changes_done_up_to_(restored.checkpoint_index.value),
          commit_(restored.checkpoint_index.value),
          is_founding_(is_new) {}

    Status begin(const Restored& restored, const std::vector<WireEntry>& entries, std::uint64_t now_ms,
                 Effects& effects);

    Result<LogIndex> propose(std::size_t bytes, std::uint64_t now_ms, Effects& effects) override;
    Effects persisted(LogIndex index, Term term, std::uint64_t now_ms) override;
    Effects persisted(LogIndex index, std::uint64_t now_ms) override {
        return persisted(index, term_at(index), now_ms);
    }
    Effects timeout(std::uint64_t now_ms) override;
    std::uint64_t deadline_ms() const override { return leads_alone() ? never_ms : raft_core_deadline_ms(core_.get()); }
    Effects checkpointed(LogIndex index, Term term, std::uint64_t now_ms) override;
    Effects receive(NodeId from, std::string_view bytes, std::uint64_t now_ms) override;
    Result<std::string> complete(const Message& message) const override;

    bool is_leader() const override { return raft_core_is_leader(core_.get()); }
    NodeId leader() const override { return raft_core_leader(core_.get()); }
    Term term() const override { return Term(raft_core_term(core_.get())); }
    LogIndex commit_index() const override { return LogIndex(commit_); }
    LogIndex last_index() const override { return LogIndex(trail_.last()); }
    Term term_at(LogIndex index) const override { return Term(trail_.term_at(index.value)); }
    const Membership& membership() const override { return membership_; }

  private:
    // Entries that are not commands: what the engine's messages and steps need of them.
    struct Special {
        EntryType type;
        Membership membership;  // of a change
    };

    bool leads_alone() const {
        return is_leader() && membership_.voters.size() == 1 && membership_.voters[0].id == options_.self;
    }
    void remember(std::uint64_t term, EntryType type, std::string_view payload);
    void take(const raft_core_update& update, std::vector<WireEntry>* incoming, Effects& effects);
    void send(const raft_core_message& message, Effects& effects);
    void finish(std::uint64_t now_ms, Effects& effects);
    void reanchor(WireMessage& m) const;
    bool is_append_plausible(const WireMessage& m) const;
    void receive_append(NodeId from, WireMessage m, std::uint64_t now_ms, Effects& effects);
    void deliver_append(NodeId from, const WireMessage& m, std::uint64_t commit_index, std::vector<WireEntry> entries,
                        std::uint64_t now_ms, Effects& effects);

    GroupOptions options_;
    std::unique_ptr<raft_core, FreeCore> core_;
    Trail trail_;
    std::map<std::uint64_t, Special> specials_;  // above the checkpoint; a handful a term
    Membership membership_;                      // of the last committed change
    Membership checkpoint_membership_;           // of the last change up to the checkpoint
    std::uint64_t checkpoint_membership_index_;  // its index, or (after a restart) the checkpoint's
    std::uint64_t changes_done_up_to_;           // changes up to here were reported to the engine as committed
    std::uint64_t commit_;
    bool was_leader_ = false;
    bool is_founding_;  // entry 1 was made by us and is not durable yet
};

// The engine fails a step only for want of memory, or because it was driven wrongly.
void check_step(int rv) {
    CHECK(rv == RAFT_CORE_OK);
}

// ---------------------------------------------------------------------------------------------------------- start

void RaftGroup::remember(std::uint64_t term, EntryType type, std::string_view payload) {
    trail_.append(term);
    if (type == EntryType::command) return;
    Special special{type, {}};
    if (type == EntryType::change) {
        Result<Membership> membership = Membership::decode(payload);
        CHECK(membership.has_value());  // whoever calls has decoded it before
        special.membership = std::move(membership).value();
    }
    specials_.emplace(trail_.last(), std::move(special));
}

// Borrows from `memberships`, which it fills: one per change entry.
std::vector<raft_core_entry> core_entries(const std::vector<WireEntry>& from, std::vector<Membership>& memberships,
                                          std::vector<CoreMembership>& borrowed) {
    std::vector<raft_core_entry> to;
    memberships.reserve(from.size());  // no element may move
    borrowed.reserve(from.size());
    to.reserve(from.size());
    for (const WireEntry& e : from) {
        raft_core_entry entry{};
        entry.term = e.term;
        entry.type = static_cast<raft_core_entry_type>(e.type);
        if (e.type == EntryType::change) {
            Result<Membership> membership = Membership::decode(e.payload);
            CHECK(membership.has_value());
            memberships.push_back(std::move(membership).value());
            borrowed.emplace_back(memberships.back());
            entry.membership = borrowed.back().get();
        }
        to.push_back(entry);
    }
    return to;
}

Status RaftGroup::begin(const Restored& restored, const std::vector<WireEntry>& entries, std::uint64_t now_ms,
                        Effects& effects) {
    std::vector<Membership> memberships;
    std::vector<CoreMembership> borrowed;
    const std::vector<raft_core_entry> raw = core_entries(entries, memberships, borrowed);
    const CoreMembership at_checkpoint(membership_);
    const raft_core_snapshot snapshot{restored.checkpoint_index.value, restored.checkpoint_term.value,
                                      restored.checkpoint_index.value, at_checkpoint.get()};
    for (const WireEntry& e : entries)
        remember(e.term, e.type, e.payload);
    if (is_founding_) effects.append.push_back({LogIndex(1), Term(1), EntryType::change, entries[0].payload});

    std::uint64_t first_term = std::max<std::uint64_t>(restored.term.value, 1);
    std::uint64_t vote = restored.vote;
    // G10. The engine makes an only voter leader in the term that it had. Entries that a crash took from the disk would
    // then get successors of the same index and term, while a copy of the lost ones may stand elsewhere.
    const Membership& voters = memberships.empty() ? membership_ : memberships.back();
    if (voters.voters.size() == 1 && voters.voters[0].id == options_.self) {
        first_term++;
        vote = options_.self;
    }
    if (first_term != restored.term.value) effects.hard_state_changed = true;
    raft_core_update update;
    const int rv = raft_core_start(core_.get(), now_ms, first_term, vote, &snapshot, snapshot.index + 1, raw.data(),
                                   static_cast<unsigned>(raw.size()), &update);
    if (rv != RAFT_CORE_OK)
        return Error{Errc::corrupt,
                     std::string("raft refuses what was restored: ") + raft_core_last_error(core_.get())};
    take(update, nullptr, effects);
    finish(now_ms, effects);
    return {};
}

// What the log says as one list, checked. Errors: corrupt.
Result<std::vector<WireEntry>> checked_entries(const Restored& restored) {
    const auto corrupt = [](const std::string& what) { return Error{Errc::corrupt, "restored raft log: " + what}; };
    std::vector<WireEntry> entries;
    entries.reserve(restored.entries.size());
    std::uint64_t index = restored.checkpoint_index.value;
    std::uint64_t term = restored.checkpoint_term.value;
    if ((index == 0) != (term == 0)) return corrupt("a checkpoint without index or term");
    for (const Restored::Entry& e : restored.entries) {
        if (e.index.value != ++index)
            return corrupt("entry " + std::to_string(index) + " is missing, found " + std::to_string(e.index.value));
        if (e.term.value == 0 || e.term.value < term) return corrupt("terms go back at " + std::to_string(index));
        term = e.term.value;
        if (e.type == EntryType::change && !Membership::decode(e.payload))
            return corrupt("the membership at " + std::to_string(index) + " is not readable");
        entries.push_back({e.term.value, e.type, e.type == EntryType::change ? e.payload : std::string()});
    }
    if (term > restored.term.value) return corrupt("an entry's term is above the hard state's");
    if (restored.checkpoint_index.value == 0 && !entries.empty() && entries[0].type != EntryType::change)
        return corrupt("entry 1 is no membership");
    return entries;
}

// ---------------------------------------------------------------------------------------------------------- effects

// `incoming`: the entries of the append that was received, whose payloads it moves out; nullptr where none were.
void RaftGroup::take(const raft_core_update& update, std::vector<WireEntry>* incoming, Effects& effects) {
    effects.hard_state_changed |= update.hard_state_changed;
    if (update.n_entries > 0) {
        const std::uint64_t first = update.first_index;
        CHECK(first > trail_.base_index() && first <= trail_.last() + 1);
        if (first <= trail_.last()) {
            CHECK(first > commit_);  // what is committed is never truncated
            trail_.truncate_from(first);
            specials_.erase(specials_.lower_bound(first), specials_.end());
        }
        CHECK(effects.append.empty() || effects.append.back().index.value + 1 == first);
        CHECK(incoming == nullptr || incoming->size() >= update.n_entries);
        for (unsigned i = 0; i < update.n_entries; i++) {
            WireEntry e;
            if (incoming != nullptr)
                e = std::move((*incoming)[incoming->size() - update.n_entries + i]);
            else
                e = {raft_core_term(core_.get()), update.is_barrier ? EntryType::barrier : EntryType::command, {}};
            remember(e.term, e.type, e.payload);
            effects.append.push_back({LogIndex(first + i), Term(e.term), e.type, std::move(e.payload)});
        }
    }
    for (unsigned i = 0; i < update.n_messages; i++)
        send(update.messages[i], effects);
}

void RaftGroup::send(const raft_core_message& from, Effects& effects) {
    WireMessage m;
    m.term = from.term;
    Message to;
    to.to = from.peer;
    switch (from.type) {
        case RAFT_CORE_APPEND:
            m.type = MessageType::append;
            m.prev_index = from.append.prev_index;
            m.prev_term = from.append.prev_term;
            m.commit_index = std::min(from.append.commit_index, commit_);
            to.first_entry = LogIndex(from.append.prev_index + 1);
            to.entry_count = from.append.n;
            break;
        case RAFT_CORE_APPEND_RESULT:
            m.type = MessageType::append_result;
            m.rejected = from.append_result.rejected;
            m.last_index = from.append_result.last_index;
            break;
        case RAFT_CORE_VOTE:
            m.type = MessageType::vote;
            m.last_index = from.vote.last_index;
            m.last_term = from.vote.last_term;
            m.disrupt_leader = from.vote.disrupt_leader;
            m.pre_vote = from.vote.pre_vote;
            break;
        case RAFT_CORE_VOTE_RESULT:
            m.type = MessageType::vote_result;
            m.granted = from.vote_result.granted;
            m.pre_vote = from.vote_result.pre_vote;
            // G4. Else, with a bare quorum alive, (low term, long log) and (high term, short log) wait for ever.
            if (m.pre_vote && !m.granted) m.term = std::max(m.term, raft_core_term(core_.get()));
            break;
        case RAFT_CORE_INSTALL:
            return;  // a follower behind the log's start stays there until installs are built
    }
    to.bytes = encode_message(m);
    effects.messages.push_back(std::move(to));
}

// Ends every call: reports committed changes to the engine, which may have effects of their own, and fills what callers
// see. A commit is not shown before our own entry 1 is durable: the engine took that for granted.
void RaftGroup::finish(std::uint64_t now_ms, Effects& effects) {
    for (;;) {
        const std::uint64_t commit = is_founding_ ? 0 : std::min(raft_core_commit_index(core_.get()), trail_.last());
        if (commit > commit_) commit_ = commit;
        auto it = specials_.upper_bound(changes_done_up_to_);
        while (it != specials_.end() && it->second.type != EntryType::change)
            ++it;
        if (it == specials_.end() || it->first > commit_) break;
        changes_done_up_to_ = it->first;
        membership_ = it->second.membership;
        const CoreMembership borrowed(membership_);
        const raft_core_membership membership = borrowed.get();
        raft_core_update update;
        check_step(raft_core_membership_committed(core_.get(), now_ms, changes_done_up_to_, &membership, &update));
        take(update, nullptr, effects);
    }
    CHECK(trail_.last() == raft_core_last_index(core_.get()));
    effects.term = term();
    effects.vote = raft_core_vote(core_.get());
    effects.commit_index = LogIndex(commit_);
    effects.is_leader = is_leader();
    effects.role_changed = effects.is_leader != was_leader_;
    was_leader_ = effects.is_leader;
}

// ---------------------------------------------------------------------------------------------------------- local
// events

Result<LogIndex> RaftGroup::propose(std::size_t bytes, std::uint64_t now_ms, Effects& effects) {
    if (bytes > limits::entry_bytes_max) return Error{Errc::too_large, "one entry beyond entry_bytes_max"};
    if (!is_leader()) return Error{Errc::not_leader, "this node does not lead the group"};
    raft_core_update update;
    const int rv = raft_core_submit(core_.get(), now_ms, &update);
    if (rv == RAFT_CORE_NOT_LEADER) return Error{Errc::not_leader, "leadership is being handed over"};
    check_step(rv);
    effects = Effects{};
    take(update, nullptr, effects);
    const LogIndex index = last_index();
    CHECK(effects.append.size() == 1 && effects.append[0].index == index);
    finish(now_ms, effects);
    return index;
}

Effects RaftGroup::persisted(LogIndex index, Term written, std::uint64_t now_ms) {
    Effects effects;
    // G7. Equal index and term mean the same entry, and all before it the same too (the log matching property).
    const bool is_in_log = index.value > trail_.base_index() && index.value <= trail_.last() &&
                           trail_.term_at(index.value) == written.value;
    if (is_in_log) {
        is_founding_ = false;
        if (index.value > raft_core_stored(core_.get())) {
            raft_core_update update;
            check_step(raft_core_persisted(core_.get(), now_ms, index.value, &update));
            take(update, nullptr, effects);
        }
    }
    finish(now_ms, effects);
    return effects;
}

Effects RaftGroup::timeout(std::uint64_t now_ms) {
    Effects effects;
    if (!leads_alone()) {
        raft_core_update update;
        check_step(raft_core_timeout(core_.get(), now_ms, &update));
        take(update, nullptr, effects);
    }
    finish(now_ms, effects);
    return effects;
}

Effects RaftGroup::checkpointed(LogIndex index, Term term, std::uint64_t now_ms) {
    Effects effects;
    if (index.value > trail_.base_index()) {
        CHECK(index.value <= commit_);
        CHECK(index.value <= raft_core_stored(core_.get()));
        CHECK(trail_.term_at(index.value) == term.value);
        for (const auto& [at, special] : specials_) {
            if (at > index.value) break;
            if (special.type != EntryType::change) continue;
            checkpoint_membership_ = special.membership;
            checkpoint_membership_index_ = at;
        }
        const CoreMembership borrowed(checkpoint_membership_);
        const raft_core_snapshot snapshot{index.value, term.value, checkpoint_membership_index_, borrowed.get()};
        raft_core_update update;
        check_step(raft_core_snapshot_taken(core_.get(), now_ms, &snapshot, &update));
        trail_.cut_up_to(index.value);
        specials_.erase(specials_.begin(), specials_.upper_bound(index.value));
        take(update, nullptr, effects);
    }
    finish(now_ms, effects);
    return effects;
}

// ---------------------------------------------------------------------------------------------------------- messages

// G2. The engine rejects an append that begins below the log's start, and the leader then goes back too far; with prev
// 0 it even appends at the wrong index. All up to the checkpoint is committed, so it is in this leader's log too.
void RaftGroup::reanchor(WireMessage& m) const {
    const std::uint64_t base = trail_.base_index();
    if (m.prev_index >= base) return;
    const std::uint64_t covered = std::min<std::uint64_t>(base - m.prev_index, m.entries.size());
    m.entries.erase(m.entries.begin(), m.entries.begin() + static_cast<std::ptrdiff_t>(covered));
    m.prev_index = base;
    m.prev_term = trail_.term_at(base);
}

// A leader holds all that is committed. One that contradicts it is broken or false; the engine would give up.
bool RaftGroup::is_append_plausible(const WireMessage& m) const {
    std::uint64_t index = m.prev_index;
    if (index > 0 && index <= commit_ && trail_.term_at(index) != m.prev_term) return false;
    for (const WireEntry& e : m.entries) {
        if (++index <= commit_ && trail_.term_at(index) != e.term) return false;
        if (e.type == EntryType::change && !Membership::decode(e.payload)) return false;
    }
    return true;
}

void RaftGroup::deliver_append(NodeId from, const WireMessage& m, std::uint64_t commit_index,
                               std::vector<WireEntry> entries, std::uint64_t now_ms, Effects& effects) {
    std::vector<Membership> memberships;
    std::vector<CoreMembership> borrowed;
    const std::vector<raft_core_entry> raw = core_entries(entries, memberships, borrowed);
    raft_core_message message{};
    message.type = RAFT_CORE_APPEND;
    message.peer = from;
    message.term = m.term;
    message.append.prev_index = m.prev_index;
    message.append.prev_term = m.prev_term;
    message.append.commit_index = commit_index;
    message.append.entries = raw.data();
    message.append.n = static_cast<unsigned>(raw.size());
    raft_core_update update;
    check_step(raft_core_receive(core_.get(), now_ms, &message, &update));
    take(update, &entries, effects);
}

void RaftGroup::receive_append(NodeId from, WireMessage m, std::uint64_t now_ms, Effects& effects) {
    if (m.term >= raft_core_term(core_.get())) {
        if (is_leader() && m.term == raft_core_term(core_.get())) return;  // two leaders in a term: one is false
        reanchor(m);
        if (!is_append_plausible(m)) return;
    } else {
        m.entries.clear();  // it is refused for its term; what it carries does not matter
    }
    // G5. The engine notes the index of a batch's first entry for a change that stands anywhere in the batch.
    const auto is_change = [](const WireEntry& e) { return e.type == EntryType::change; };
    std::vector<WireEntry> rest = std::move(m.entries);
    while (true) {
        auto end = rest.begin();
        if (end != rest.end() && is_change(*end))
            ++end;
        else
            end = std::find_if(rest.begin(), rest.end(), is_change);
        std::vector<WireEntry> part(std::make_move_iterator(rest.begin()), std::make_move_iterator(end));
        rest.erase(rest.begin(), end);
        const std::uint64_t last = m.prev_index + part.size();
        const std::uint64_t last_term = part.empty() ? m.prev_term : part.back().term;
        deliver_append(from, m, std::min(m.commit_index, last), std::move(part), now_ms, effects);
        if (rest.empty()) return;
        m.prev_index = last;
        m.prev_term = last_term;
    }
}

Effects RaftGroup::receive(NodeId from, std::string_view bytes, std::uint64_t now_ms) {
    Effects effects;
    Result<WireMessage> decoded = decode_message(bytes);
    const bool is_peer = from != 0 && from != options_.self;
    if (decoded && is_peer) {
        WireMessage m = std::move(decoded).value();
        const std::uint64_t own_term = raft_core_term(core_.get());
        raft_core_message message{};
        message.peer = from;
        message.term = m.term;
        bool is_wanted = true;
        switch (m.type) {
            case MessageType::append:
                receive_append(from, std::move(m), now_ms, effects);
                is_wanted = false;
                break;
            case MessageType::append_result: {
                message.type = RAFT_CORE_APPEND_RESULT;
                message.append_result.rejected = m.rejected;
                message.append_result.last_index = m.last_index;
                if (m.term != own_term) break;
                // Below what the peer has acknowledged, or above what we have: stale, or false.
                const std::uint64_t match = raft_core_match_index(core_.get(), from);
                if (m.rejected > 0)
                    is_wanted = m.rejected > match && m.last_index >= match && m.rejected <= trail_.last() + 1;
                else
                    is_wanted = m.last_index <= trail_.last();
                break;
            }
            case MessageType::vote:
                message.type = RAFT_CORE_VOTE;
                message.vote.last_index = m.last_index;
                message.vote.last_term = m.last_term;
                message.vote.disrupt_leader = m.disrupt_leader;
                message.vote.pre_vote = m.pre_vote;
                break;
            case MessageType::vote_result:
                message.type = RAFT_CORE_VOTE_RESULT;
                message.vote_result.granted = m.granted;
                message.vote_result.pre_vote = m.pre_vote;
                is_wanted = raft_core_is_candidate(core_.get());  // G3: else the engine reads another state's fields
                break;
        }
        if (is_wanted) {
            raft_core_update update;
            check_step(raft_core_receive(core_.get(), now_ms, &message, &update));
            take(update, nullptr, effects);
        }
    }
    finish(now_ms, effects);
    return effects;
}

Result<std::string> RaftGroup::complete(const Message& message) const {
    if (message.entry_count == 0) return message.bytes;
    const WireMessage m = TRY(decode_message(message.bytes));
    // Entries are read from the log as it is now; under another term they would be put into a former leader's mouth.
    if (!is_leader() || m.term != raft_core_term(core_.get()))
        return Error{Errc::not_leader, "the message is of a former term"};
    std::string out = message.bytes;
    std::uint32_t count = 0;
    for (; count < message.entry_count && (count == 0 || out.size() < message_bytes_target); count++) {
        const LogIndex index(message.first_entry.value + count);
        if (index.value <= trail_.base_index() || index.value > trail_.last())
            return Error{Errc::not_found, "entry " + std::to_string(index.value) + " is not in the log"};
        const auto special = specials_.find(index.value);
        std::string payload;
        if (special == specials_.end()) {
            if (!options_.payload) return Error{Errc::unsupported, "no payload callback"};
            payload = TRY(options_.payload(index));
        } else if (special->second.type == EntryType::change) {
            payload = special->second.membership.encode();
        }
        append_entry(out, trail_.term_at(index.value),
                     special == specials_.end() ? EntryType::command : special->second.type, payload);
    }
    set_entry_count(out, count);
    return out;
}

}  // namespace

Result<std::unique_ptr<Group>> Group::start(const GroupOptions& options, const Restored& restored, std::uint64_t now_ms,
                                            Effects& effects) {
    effects = Effects{};
    if (options.heartbeat_ms == 0 || options.heartbeat_ms >= options.election_timeout_ms)
        return Error{Errc::invalid_argument, "heartbeat_ms must be above 0 and below election_timeout_ms"};
    std::vector<WireEntry> entries = TRY(checked_entries(restored));
    const bool is_new = restored.checkpoint_index.value == 0 && entries.empty();
    Membership membership = restored.membership;
    if (is_new) {
        if (membership.voters.empty()) membership.voters.push_back({options.self, options.address});
        TRY(membership.check());
        if (!membership.contains(options.self))
            return Error{Errc::invalid_argument, "this node is not among the founders"};
        entries.push_back({1, EntryType::change, membership.encode()});
    } else if (restored.checkpoint_index.value > 0) {
        const Status status = membership.check();
        if (!status) return Error{Errc::corrupt, "checkpoint: " + status.error().detail};
    }
    const raft_core_options core_options{options.self,
                                         options.address.c_str(),
                                         static_cast<std::uint32_t>(options.seed ^ options.seed >> 32),
                                         options.election_timeout_ms,
                                         options.heartbeat_ms,
                                         inflight_entries_max};
    if (options.self == 0) return Error{Errc::invalid_argument, "node ids begin with 1"};
    std::unique_ptr<raft_core, FreeCore> core(raft_core_new(&core_options));
    if (!core) return Error{Errc::overloaded, "no memory for a raft group"};
    auto group = std::make_unique<RaftGroup>(options, std::move(core), restored, membership, is_new);
    TRY(group->begin(restored, entries, now_ms, effects));
    return std::unique_ptr<Group>(std::move(group));
}

}  // namespace weir::consensus
