/* libraft 0.22.1's raft_step behind plain structs. raft_core.c is the only file that includes <raft.h>, which does not
 * compile as C++ and whose rules on who frees what differ by event; here everything passed in stays the caller's, and
 * everything handed out is valid until the next call on the same core. group.cc is the only user.
 *
 * Commands and barriers have no payload here: the engine wants only their term and type. Functions that return int give
 * 0 or one of raft_core_error. */
#ifndef WEIR_CONSENSUS_RAFT_CORE_H
#define WEIR_CONSENSUS_RAFT_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* NOLINTBEGIN(readability-identifier-naming): C's names, as libraft's are */
enum raft_core_error { RAFT_CORE_OK = 0, RAFT_CORE_NOT_LEADER = 1, RAFT_CORE_FAILED = 2 };

enum raft_core_entry_type { RAFT_CORE_COMMAND = 1, RAFT_CORE_BARRIER = 2, RAFT_CORE_CHANGE = 3 };

struct raft_core_server {
    uint64_t id;
    const char* address; /* zero-terminated */
};

/* The voters; the engine's other roles come with changes of membership. */
struct raft_core_membership {
    const struct raft_core_server* servers;
    unsigned n;
};

struct raft_core_entry {
    uint64_t term;
    enum raft_core_entry_type type;
    struct raft_core_membership membership; /* of a change entry */
};

struct raft_core_snapshot {
    uint64_t index; /* 0: none */
    uint64_t term;
    uint64_t membership_index;
    struct raft_core_membership membership;
};

enum raft_core_message_type {
    RAFT_CORE_APPEND = 1,
    RAFT_CORE_APPEND_RESULT,
    RAFT_CORE_VOTE,
    RAFT_CORE_VOTE_RESULT,
    RAFT_CORE_INSTALL, /* only handed out, and then only named: the follower is behind the log's start */
};

struct raft_core_message {
    enum raft_core_message_type type;
    uint64_t peer; /* whom it goes to, or comes from */
    uint64_t term;
    /* Of these the one that the type names. */
    struct {
        uint64_t prev_index, prev_term, commit_index;
        const struct raft_core_entry* entries; /* NULL when handed out: they stand in the caller's log */
        unsigned n;
    } append;
    struct {
        uint64_t rejected, last_index;
    } append_result;
    struct {
        uint64_t last_index, last_term;
        bool disrupt_leader, pre_vote;
    } vote;
    struct {
        bool granted, pre_vote;
    } vote_result;
};

/* What a step asks for. */
struct raft_core_update {
    bool hard_state_changed;
    uint64_t first_index; /* of the entries to append; an index at or below the last one truncates first */
    unsigned n_entries;   /* the last n of those passed in, or (barrier) one that the engine made */
    bool is_barrier;
    const struct raft_core_message* messages;
    unsigned n_messages;
};

struct raft_core_options {
    uint64_t id;
    const char* address;
    uint32_t seed;
    uint32_t election_timeout_ms;
    uint32_t heartbeat_ms;
    uint32_t inflight_entries_max;
};

struct raft_core;

/* NULL: no memory. */
struct raft_core* raft_core_new(const struct raft_core_options* options);
void raft_core_free(struct raft_core* core);

/* Once, first. entries: all above the snapshot, the first one at start_index. */
int raft_core_start(struct raft_core* core, uint64_t now_ms, uint64_t term, uint64_t vote,
                    const struct raft_core_snapshot* snapshot, uint64_t start_index,
                    const struct raft_core_entry* entries, unsigned n, struct raft_core_update* update);
int raft_core_receive(struct raft_core* core, uint64_t now_ms, const struct raft_core_message* message,
                      struct raft_core_update* update);
int raft_core_submit(struct raft_core* core, uint64_t now_ms, struct raft_core_update* update);
/* index: above raft_core_stored(), at most raft_core_last_index(). */
int raft_core_persisted(struct raft_core* core, uint64_t now_ms, uint64_t index, struct raft_core_update* update);
/* A change entry is committed. */
int raft_core_membership_committed(struct raft_core* core, uint64_t now_ms, uint64_t index,
                                   const struct raft_core_membership* membership, struct raft_core_update* update);
/* The log up to snapshot->index is gone, which is committed and stored. Never twice with one index. */
int raft_core_snapshot_taken(struct raft_core* core, uint64_t now_ms, const struct raft_core_snapshot* snapshot,
                             struct raft_core_update* update);
int raft_core_timeout(struct raft_core* core, uint64_t now_ms, struct raft_core_update* update);

uint64_t raft_core_term(const struct raft_core* core);
uint64_t raft_core_vote(const struct raft_core* core);
uint64_t raft_core_commit_index(const struct raft_core* core);
uint64_t raft_core_last_index(struct raft_core* core);
uint64_t raft_core_stored(const struct raft_core* core);
uint64_t raft_core_deadline_ms(const struct raft_core* core);
uint64_t raft_core_leader(struct raft_core* core); /* 0: not known */
/* The highest index known to be durable on the peer; 0 unless this core leads and the peer is a member. */
uint64_t raft_core_match_index(struct raft_core* core, uint64_t peer);
bool raft_core_is_leader(struct raft_core* core);
bool raft_core_is_candidate(struct raft_core* core);
const char* raft_core_last_error(struct raft_core* core);
/* NOLINTEND(readability-identifier-naming): C's names, as libraft's are */

#ifdef __cplusplus
}
#endif

#endif
