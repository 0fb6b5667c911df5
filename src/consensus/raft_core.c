/* See raft_core.h. Ownership was read from the source of 0.22.1 and changed upstream afterwards: never let the version
 * float. Where a guard of group.cc's list needs the engine's insides, it stands here and says so. */
#include "consensus/raft_core.h"

#include <raft.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(RAFT_VERSION_NUMBER == 2201, "memory ownership of raft_step's events was checked for 0.22.1 only");

/* A follower that lags behind the log's start is asked this often; see RAFT_CORE_INSTALL. */
#define INSTALL_TIMEOUT_MS 30000

struct raft_core {
    struct raft r;
    struct raft_core_message* messages; /* of the last update */
    unsigned messages_capacity;
};

/* Commands and barriers: any non-null pointer that the engine compares and never reads. */
static char no_payload[8];

struct raft_core* raft_core_new(const struct raft_core_options* options) {
    struct raft_core* core = calloc(1, sizeof *core);
    if (core == NULL) return NULL;
    if (raft_init(&core->r, NULL, NULL, options->id, options->address) != 0) {
        free(core);
        return NULL;
    }
    core->r.tracer = NULL; /* the default one formats every step into a static buffer */
    raft_seed(&core->r, options->seed);
    raft_set_election_timeout(&core->r, options->election_timeout_ms);
    raft_set_heartbeat_timeout(&core->r, options->heartbeat_ms);
    raft_set_install_snapshot_timeout(&core->r, INSTALL_TIMEOUT_MS);
    raft_set_pre_vote(&core->r, true);
    raft_set_max_inflight_entries(&core->r, options->inflight_entries_max);
    return core;
}

void raft_core_free(struct raft_core* core) {
    if (core == NULL) return;
    raft_close(&core->r, NULL);
    free(core->messages);
    free(core);
}

/* The result is the engine's or must go to raft_configuration_close. */
static int make_configuration(const struct raft_core_membership* from, struct raft_configuration* to) {
    raft_configuration_init(to);
    for (unsigned i = 0; i < from->n; i++) {
        int rv = raft_configuration_add(to, from->servers[i].id, from->servers[i].address, RAFT_VOTER);
        if (rv != 0) {
            raft_configuration_close(to);
            return rv;
        }
    }
    return 0;
}

static int encode_membership(const struct raft_core_membership* from, struct raft_buffer* to) {
    struct raft_configuration configuration;
    int rv = make_configuration(from, &configuration);
    if (rv != 0) return rv;
    rv = raft_configuration_encode(&configuration, to);
    raft_configuration_close(&configuration);
    return rv;
}

/* The engine's form of `n` entries, all of `batch`. NULL: no memory, or a membership that it refuses. */
static struct raft_entry* make_entries(const struct raft_core_entry* from, unsigned n, void* batch) {
    struct raft_entry* to = calloc(n > 0 ? n : 1, sizeof *to);
    if (to == NULL) return NULL;
    for (unsigned i = 0; i < n; i++) {
        to[i].term = from[i].term;
        to[i].type = (enum raft_entry_type)from[i].type;
        to[i].batch = batch;
        to[i].buf.base = no_payload;
        to[i].buf.len = sizeof no_payload;
        if (from[i].type == RAFT_CORE_CHANGE && encode_membership(&from[i].membership, &to[i].buf) != 0) {
            while (i > 0)
                if (to[--i].type == RAFT_CHANGE) raft_free(to[i].buf.base);
            free(to);
            return NULL;
        }
    }
    return to;
}

static void free_entries(struct raft_entry* entries, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        if (entries[i].type == RAFT_CHANGE) raft_free(entries[i].buf.base);
    free(entries);
}

static int copy_messages(struct raft_core* core, const struct raft_message* from, unsigned n) {
    if (n > core->messages_capacity) {
        struct raft_core_message* grown = realloc(core->messages, n * sizeof *grown);
        if (grown == NULL) return RAFT_NOMEM;
        core->messages = grown;
        core->messages_capacity = n;
    }
    for (unsigned i = 0; i < n; i++) {
        struct raft_core_message* to = &core->messages[i];
        memset(to, 0, sizeof *to);
        to->peer = from[i].server_id;
        switch (from[i].type) {
            case RAFT_APPEND_ENTRIES:
                to->type = RAFT_CORE_APPEND;
                to->term = from[i].append_entries.term;
                to->append.prev_index = from[i].append_entries.prev_log_index;
                to->append.prev_term = from[i].append_entries.prev_log_term;
                to->append.commit_index = from[i].append_entries.leader_commit;
                to->append.n = from[i].append_entries.n_entries;
                break;
            case RAFT_APPEND_ENTRIES_RESULT:
                to->type = RAFT_CORE_APPEND_RESULT;
                to->term = from[i].append_entries_result.term;
                to->append_result.rejected = from[i].append_entries_result.rejected;
                to->append_result.last_index = from[i].append_entries_result.last_log_index;
                break;
            case RAFT_REQUEST_VOTE:
                to->type = RAFT_CORE_VOTE;
                to->term = from[i].request_vote.term;
                to->vote.last_index = from[i].request_vote.last_log_index;
                to->vote.last_term = from[i].request_vote.last_log_term;
                to->vote.disrupt_leader = from[i].request_vote.disrupt_leader;
                to->vote.pre_vote = from[i].request_vote.pre_vote;
                break;
            case RAFT_REQUEST_VOTE_RESULT:
                to->type = RAFT_CORE_VOTE_RESULT;
                to->term = from[i].request_vote_result.term;
                to->vote_result.granted = from[i].request_vote_result.vote_granted;
                to->vote_result.pre_vote = from[i].request_vote_result.pre_vote;
                break;
            case RAFT_INSTALL_SNAPSHOT:
            case RAFT_TIMEOUT_NOW: /* answers RAFT_TRANSFER, which is not offered */
                to->type = RAFT_CORE_INSTALL;
                break;
        }
    }
    return 0;
}

static int step(struct raft_core* core, struct raft_event* event, uint64_t now_ms, struct raft_update* raw,
                struct raft_core_update* update) {
    memset(update, 0, sizeof *update);
    memset(raw, 0, sizeof *raw);
    event->time = now_ms;
    event->capacity = 0;
    int rv = raft_step(&core->r, event, raw);
    if (rv == 0 && (raw->flags & (RAFT_UPDATE_MESSAGES)) != 0)
        rv = copy_messages(core, raw->messages.batch, raw->messages.n);
    if (rv != 0) return rv == RAFT_NOTLEADER ? RAFT_CORE_NOT_LEADER : RAFT_CORE_FAILED;
    update->hard_state_changed =
        (raw->flags & (RAFT_UPDATE_CURRENT_TERM)) != 0 || (raw->flags & (RAFT_UPDATE_VOTED_FOR)) != 0;
    if ((raw->flags & (RAFT_UPDATE_ENTRIES)) != 0) {
        update->first_index = raw->entries.index;
        update->n_entries = raw->entries.n;
        if (raw->entries.batch == &core->r.barrier) { /* the engine made it; its buffer is ours to free */
            update->is_barrier = true;
            raft_free(core->r.barrier.buf.base);
            core->r.barrier.buf.base = NULL;
        }
    }
    if ((raw->flags & (RAFT_UPDATE_MESSAGES)) != 0) {
        update->messages = core->messages;
        update->n_messages = raw->messages.n;
    }
    return RAFT_CORE_OK;
}

int raft_core_start(struct raft_core* core, uint64_t now_ms, uint64_t term, uint64_t vote,
                    const struct raft_core_snapshot* snapshot, uint64_t start_index,
                    const struct raft_core_entry* entries, unsigned n, struct raft_core_update* update) {
    struct raft_event event = {.type = RAFT_START};
    struct raft_update raw;
    struct raft_snapshot_metadata metadata = {0};
    event.start.term = term;
    event.start.voted_for = vote;
    event.start.start_index = start_index;
    event.start.entries = make_entries(entries, n, no_payload); /* stays ours */
    event.start.n_entries = n;
    if (event.start.entries == NULL) return RAFT_CORE_FAILED;
    if (snapshot->index > 0) {
        metadata.index = snapshot->index;
        metadata.term = snapshot->term;
        metadata.configuration_index = snapshot->membership_index;
        if (make_configuration(&snapshot->membership, &metadata.configuration) != 0) {
            free_entries(event.start.entries, n);
            return RAFT_CORE_FAILED;
        }
        event.start.metadata = &metadata; /* the configuration becomes the engine's */
    }
    int rv = step(core, &event, now_ms, &raw, update);
    free_entries(event.start.entries, n);
    return rv;
}

/* Guard G9, first half: a server votes whatever its own membership says (Ongaro's thesis, 4.1). The engine refuses to
 * when it does not know itself as a voter, which can block elections for ever after a change that reached only some. */
static struct raft_server* become_voter_for_a_step(struct raft* r, const struct raft_message* message, int* role) {
    if (message->type != RAFT_REQUEST_VOTE || raft_state(r) != RAFT_FOLLOWER) return NULL;
    for (unsigned i = 0; i < r->configuration.n; i++) {
        struct raft_server* server = &r->configuration.servers[i];
        if (server->id != r->id || server->role == RAFT_VOTER) continue;
        *role = server->role;
        server->role = RAFT_VOTER;
        return server;
    }
    return NULL;
}

int raft_core_receive(struct raft_core* core, uint64_t now_ms, const struct raft_core_message* from,
                      struct raft_core_update* update) {
    struct raft_event event = {.type = RAFT_RECEIVE};
    struct raft_update raw;
    struct raft_message message = {0};
    struct raft_entry* entries = NULL;
    void* batch = NULL;
    event.receive.message = &message;
    message.server_id = from->peer;
    message.server_address = "";
    for (unsigned i = 0; i < core->r.configuration.n; i++)
        if (core->r.configuration.servers[i].id == from->peer)
            message.server_address = core->r.configuration.servers[i].address;
    switch (from->type) {
        case RAFT_CORE_APPEND:
            message.type = RAFT_APPEND_ENTRIES;
            message.append_entries.version = 1;
            message.append_entries.term = from->term;
            message.append_entries.prev_log_index = from->append.prev_index;
            message.append_entries.prev_log_term = from->append.prev_term;
            message.append_entries.leader_commit = from->append.commit_index;
            if (from->append.n > 0) {
                batch = raft_malloc(sizeof no_payload);
                entries = batch == NULL ? NULL : make_entries(from->append.entries, from->append.n, batch);
                if (entries == NULL) {
                    raft_free(batch);
                    return RAFT_CORE_FAILED;
                }
                message.append_entries.entries = entries;
                message.append_entries.n_entries = from->append.n;
            }
            break;
        case RAFT_CORE_APPEND_RESULT:
            message.type = RAFT_APPEND_ENTRIES_RESULT;
            message.append_entries_result.version = 2;
            message.append_entries_result.term = from->term;
            message.append_entries_result.rejected = from->append_result.rejected;
            message.append_entries_result.last_log_index = from->append_result.last_index;
            break;
        case RAFT_CORE_VOTE:
            message.type = RAFT_REQUEST_VOTE;
            message.request_vote.version = 2;
            message.request_vote.term = from->term;
            message.request_vote.candidate_id = from->peer;
            message.request_vote.last_log_index = from->vote.last_index;
            message.request_vote.last_log_term = from->vote.last_term;
            message.request_vote.disrupt_leader = from->vote.disrupt_leader;
            message.request_vote.pre_vote = from->vote.pre_vote;
            break;
        case RAFT_CORE_VOTE_RESULT:
            message.type = RAFT_REQUEST_VOTE_RESULT;
            message.request_vote_result.version = 2; /* below 2 a late pre-vote counts as a vote: two leaders */
            message.request_vote_result.term = from->term;
            message.request_vote_result.vote_granted = from->vote_result.granted;
            message.request_vote_result.pre_vote = from->vote_result.pre_vote;
            break;
        case RAFT_CORE_INSTALL:
            return RAFT_CORE_FAILED;
    }
    const bool is_stale = from->term < raft_current_term(&core->r);
    int role = 0;
    struct raft_server* self = become_voter_for_a_step(&core->r, &message, &role);
    int rv = step(core, &event, now_ms, &raw, update);
    if (self != NULL) self->role = role; /* a vote request never replaces the configuration */
    /* 0.22.1 leaves this field as it was in memory when it refuses an append for its term. */
    for (unsigned i = 0; rv == RAFT_CORE_OK && is_stale && i < update->n_messages; i++)
        if (core->messages[i].type == RAFT_CORE_APPEND_RESULT) core->messages[i].append_result.last_index = 0;
    if (entries != NULL) {
        /* The engine frees the batch, and nothing else, of entries that it does not hand back. */
        if (rv == RAFT_CORE_OK && update->n_entries > 0) raft_free(batch);
        free_entries(entries, from->append.n);
    }
    return rv;
}

int raft_core_submit(struct raft_core* core, uint64_t now_ms, struct raft_core_update* update) {
    struct raft_event event = {.type = RAFT_SUBMIT};
    struct raft_update raw;
    struct raft_entry entry = {.term = raft_current_term(&core->r),
                               .type = RAFT_COMMAND,
                               .buf = {.base = no_payload, .len = sizeof no_payload},
                               .batch = no_payload};
    event.submit.entries = &entry;
    event.submit.n = 1;
    return step(core, &event, now_ms, &raw, update);
}

int raft_core_persisted(struct raft_core* core, uint64_t now_ms, uint64_t index, struct raft_core_update* update) {
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};
    struct raft_update raw;
    event.persisted_entries.index = index;
    return step(core, &event, now_ms, &raw, update);
}

int raft_core_membership_committed(struct raft_core* core, uint64_t now_ms, uint64_t index,
                                   const struct raft_core_membership* membership, struct raft_core_update* update) {
    struct raft_event event = {.type = RAFT_CONFIGURATION};
    struct raft_update raw;
    event.configuration.index = index;
    if (make_configuration(membership, &event.configuration.conf) != 0) return RAFT_CORE_FAILED;
    return step(core, &event, now_ms, &raw, update);
}

int raft_core_snapshot_taken(struct raft_core* core, uint64_t now_ms, const struct raft_core_snapshot* snapshot,
                             struct raft_core_update* update) {
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    struct raft_update raw;
    event.snapshot.metadata.index = snapshot->index;
    event.snapshot.metadata.term = snapshot->term;
    event.snapshot.metadata.configuration_index = snapshot->membership_index;
    if (make_configuration(&snapshot->membership, &event.snapshot.metadata.configuration) != 0) return RAFT_CORE_FAILED;
    return step(core, &event, now_ms, &raw, update);
}

int raft_core_timeout(struct raft_core* core, uint64_t now_ms, struct raft_core_update* update) {
    struct raft_event event = {.type = RAFT_TIMEOUT};
    struct raft_update raw;
    int rv = step(core, &event, now_ms, &raw, update);
    /* Guard G9, second half: a server that is no voter never becomes a candidate, so it would never forget a dead
     * leader and would refuse every vote in its name. */
    if (rv == RAFT_CORE_OK && raft_state(&core->r) == RAFT_FOLLOWER && raft_role(&core->r) != RAFT_VOTER)
        core->r.follower_state.current_leader.id = 0;
    return rv;
}

uint64_t raft_core_term(const struct raft_core* core) {
    return raft_current_term(&core->r);
}
uint64_t raft_core_vote(const struct raft_core* core) {
    return raft_voted_for(&core->r);
}
uint64_t raft_core_commit_index(const struct raft_core* core) {
    return raft_commit_index(&core->r);
}
uint64_t raft_core_last_index(struct raft_core* core) {
    return raft_last_index(&core->r);
}
uint64_t raft_core_stored(const struct raft_core* core) {
    return core->r.last_stored;
}
uint64_t raft_core_deadline_ms(const struct raft_core* core) {
    return raft_timeout(&core->r);
}
uint64_t raft_core_leader(struct raft_core* core) {
    raft_id id = 0;
    const char* address = NULL;
    raft_leader(&core->r, &id, &address);
    return id;
}
uint64_t raft_core_match_index(struct raft_core* core, uint64_t peer) {
    raft_index index = 0;
    if (raft_state(&core->r) != RAFT_LEADER || raft_match_index(&core->r, peer, &index) != 0) return 0;
    return index;
}
bool raft_core_is_leader(struct raft_core* core) {
    return raft_state(&core->r) == RAFT_LEADER;
}
bool raft_core_is_candidate(struct raft_core* core) {
    return raft_state(&core->r) == RAFT_CANDIDATE;
}
const char* raft_core_last_error(struct raft_core* core) {
    return raft_errmsg(&core->r);
}
