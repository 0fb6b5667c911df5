// One Raft group behind a narrow seam: a pure state machine, no I/O, no threads, no clock of its own. The engine is
// libraft 0.22.1's raft_step; nothing outside this room knows that. Guards: see group.cc.
//
// Every call returns Effects, which the caller (replica's raft loop) carries out in the order of their members:
//
//   1. hard state durable  2. entries appended to the log  3. messages sent  4. committed entries applied
//
// Messages wait for step 1 but not for the disk of step 2: an acknowledgement is made only by persisted(). One
// fdatasync that covers a record of the hard state and the entries behind it serves 1 and 2 where there are no
// messages.
// Owner: the raft loop.
#pragma once

#include "base/ids.h"
#include "base/result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::consensus {

using NodeId = std::uint64_t;  // 1..; a node's number in the group

enum class EntryType : std::uint8_t { command = 1, barrier = 2, change = 3 };

struct NewEntry {
    LogIndex index;
    Term term;
    EntryType type = EntryType::command;
    // Own proposals: empty, the caller has it. Barriers: empty always. Change entries: an encoded Membership. Entries
    // that came from a leader: all of it.
    std::string payload;
};

// A message to a peer. With one voter there are none. One that carries entries names them, because their payload stands
// in the caller's log, perhaps only after step 2: Group::complete() makes the bytes to send.
struct Message {
    NodeId to = 0;
    std::string bytes;  // all of it where entry_count is 0
    LogIndex first_entry;
    std::uint32_t entry_count = 0;
};

struct Effects {
    bool hard_state_changed = false;  // 1. make term and vote durable before any message leaves
    Term term;                        //    the present ones, changed or not
    NodeId vote = 0;                  //    0: none in this term
    std::vector<NewEntry> append;     // 2. append to the log (truncating from the first index if it is there),
                                      //    sync, then persisted(); contiguous
    std::vector<Message> messages;    // 3. send
    LogIndex commit_index;            // 4. everything up to here is committed (never goes back)
    bool is_leader = false;           // present role
    bool role_changed = false;
};

struct Membership {
    struct Voter {
        NodeId id = 0;
        std::string address;
        bool operator==(const Voter&) const = default;
    };
    std::vector<Voter> voters;
    std::string encode() const;
    // Errors: corrupt (any bytes may come; what decodes also passes check()).
    static Result<Membership> decode(std::string_view bytes);
    // 1 to 16 voters, ids from 1 up and distinct, addresses distinct, 1 to 255 bytes without NUL. Errors:
    // invalid_argument.
    Status check() const;
    bool contains(NodeId id) const;
    bool operator==(const Membership&) const = default;
};

// What the log and the checkpoint say at the start. Neither checkpoint nor entries: the group is new, and start()
// makes its entry 1 (term 1, a change of membership) and gives it out in Effects::append. A crash before that is
// durable leaves a new group again, with its term and vote kept.
struct Restored {
    Term term;
    NodeId vote = 0;
    LogIndex checkpoint_index;  // 0: none; the log begins at checkpoint_index + 1 or earlier
    Term checkpoint_term;
    Membership membership;  // as of the checkpoint; new group: founders, empty = this node alone
    struct Entry {
        LogIndex index;
        Term term;
        EntryType type = EntryType::command;
        std::string payload;  // change entries only
    };
    std::vector<Entry> entries;  // contiguous, all above checkpoint_index
};

struct GroupOptions {
    NodeId self = 1;
    std::string address = "1";
    std::uint64_t seed = 1;
    std::uint32_t election_timeout_ms = 500;
    std::uint32_t heartbeat_ms = 100;
    // The payload of a command entry in the caller's log, for complete(). May be empty with one voter.
    std::function<Result<std::string>(LogIndex)> payload = nullptr;
};

class Group {
  public:
    // Time is milliseconds of the monotonic clock, never going back. Errors: corrupt (the restored log has a hole, a
    // term that goes back or is above the hard state's, no membership), invalid_argument (options, founders).
    // `effects` gets the first effects: a group with one voter leads at once, in a new term (hard_state_changed), and
    // all that was restored is committed. It makes no barrier entry; a leader among several does when its log holds
    // entries not known as committed.
    static Result<std::unique_ptr<Group>> start(const GroupOptions& options, const Restored& restored,
                                                std::uint64_t now_ms, Effects& effects);
    virtual ~Group() = default;

    // Proposes one command entry of `bytes` payload. Returns its index (its term is term()); the caller appends its
    // payload when effects.append names that index, which it does in these effects. Errors, with no effects:
    // not_leader, too_large (limits::entry_bytes_max).
    virtual Result<LogIndex> propose(std::size_t bytes, std::uint64_t now_ms, Effects& effects) = 0;

    // The log up to `index` is durable, and the entry at `index` was written with `term` (writes complete in order).
    // Where that entry has been truncated meanwhile the call does nothing. Repeats and older indices do nothing
    // either.
    virtual Effects persisted(LogIndex index, Term term, std::uint64_t now_ms) = 0;
    // The same for a caller whose log cannot have been truncated since it began to write: a group with one voter.
    virtual Effects persisted(LogIndex index, std::uint64_t now_ms) = 0;

    // Call when now >= deadline_ms(). Earlier calls do no harm.
    virtual Effects timeout(std::uint64_t now_ms) = 0;
    // UINT64_MAX while this node leads as the only voter. Ask again after every call.
    virtual std::uint64_t deadline_ms() const = 0;

    // The log up to and including `index` is gone; a durable checkpoint stands in for it. CHECKed: index is committed
    // and reported as persisted, and `term` is its term. An index at or below the present checkpoint does nothing.
    virtual Effects checkpointed(LogIndex index, Term term, std::uint64_t now_ms) = 0;

    // A message from a peer, whose connection is FIFO: after a reconnect nothing of the old connection may arrive (both
    // ways). Bytes that are not a message, or that no correct peer sends, are dropped.
    virtual Effects receive(NodeId from, std::string_view message, std::uint64_t now_ms) = 0;
    // The bytes of a message, with its entries as they stand in the caller's log now; at most about 16 MiB unless one
    // entry is larger (the rest is then asked for again). Errors: not_leader (the message is of a former term: drop
    // it), not_found (entries are gone), and those of options.payload. Dropping a message is always safe.
    virtual Result<std::string> complete(const Message& message) const = 0;

    virtual bool is_leader() const = 0;
    virtual NodeId leader() const = 0;  // 0: not known
    virtual Term term() const = 0;
    virtual LogIndex commit_index() const = 0;
    virtual LogIndex last_index() const = 0;
    // The term of an entry of the log or of the checkpoint; 0 elsewhere. O(log terms).
    virtual Term term_at(LogIndex index) const = 0;
    // As of the last committed change entry.
    virtual const Membership& membership() const = 0;
};

}  // namespace weir::consensus
