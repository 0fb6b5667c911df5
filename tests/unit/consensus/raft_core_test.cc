// The engine's known defects of earlier versions as vectors: a package that brings one back fails here.
#include "consensus/raft_core.h"

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <vector>

namespace {

constexpr raft_core_server servers[] = {{1, "1"}, {2, "2"}, {3, "3"}};
constexpr raft_core_membership three{servers, 3};

struct FreeCore {
    void operator()(raft_core* core) const { raft_core_free(core); }
};

// One engine of three voters, scripted by hand. Logs begin with the membership at index 1.
struct Engine {
    std::unique_ptr<raft_core, FreeCore> core;
    std::uint64_t now_ms = 1000;
    raft_core_update update{};

    Engine(std::uint64_t id, std::uint64_t term, const std::vector<std::uint64_t>& entry_terms) {
        const raft_core_options options{id, servers[id - 1].address, 7, 1000, 100, 1024};
        core.reset(raft_core_new(&options));
        REQUIRE(core);
        std::vector<raft_core_entry> entries;
        for (const std::uint64_t t : entry_terms)
            entries.push_back({t, entries.empty() ? RAFT_CORE_CHANGE : RAFT_CORE_COMMAND, three});
        const raft_core_snapshot none{};
        REQUIRE(raft_core_start(core.get(), now_ms, term, 0, &none, 1, entries.data(),
                                static_cast<unsigned>(entries.size()), &update) == RAFT_CORE_OK);
    }
    void receive(const raft_core_message& m) {
        REQUIRE(raft_core_receive(core.get(), now_ms, &m, &update) == RAFT_CORE_OK);
    }
    void append(std::uint64_t from, std::uint64_t term, std::uint64_t prev, std::uint64_t prev_term,
                std::uint64_t commit, const std::vector<raft_core_entry>& entries = {}) {
        raft_core_message m{};
        m.type = RAFT_CORE_APPEND;
        m.peer = from;
        m.term = term;
        m.append.prev_index = prev;
        m.append.prev_term = prev_term;
        m.append.commit_index = commit;
        m.append.entries = entries.data();
        m.append.n = static_cast<unsigned>(entries.size());
        receive(m);
    }
    void append_result(std::uint64_t from, std::uint64_t last) {
        raft_core_message m{};
        m.type = RAFT_CORE_APPEND_RESULT;
        m.peer = from;
        m.term = term();
        m.append_result.last_index = last;
        receive(m);
    }
    void timeout() {
        now_ms = raft_core_deadline_ms(core.get());
        REQUIRE(raft_core_timeout(core.get(), now_ms, &update) == RAFT_CORE_OK);
    }
    // Both rounds: the pre-vote, then the vote.
    void elect() {
        timeout();
        for (const bool pre_vote : {true, false}) {
            raft_core_message m{};
            m.type = RAFT_CORE_VOTE_RESULT;
            m.peer = 2;
            m.term = term() + (pre_vote ? 1 : 0);
            m.vote_result.granted = true;
            m.vote_result.pre_vote = pre_vote;
            receive(m);
        }
        REQUIRE(raft_core_is_leader(core.get()));
    }
    bool vote(std::uint64_t candidate, std::uint64_t term, bool disrupt) {
        raft_core_message m{};
        m.type = RAFT_CORE_VOTE;
        m.peer = candidate;
        m.term = term;
        m.vote.last_index = 9;
        m.vote.last_term = 9;
        m.vote.disrupt_leader = disrupt;
        receive(m);
        REQUIRE(update.n_messages == 1);
        return update.messages[0].vote_result.granted;
    }
    void persisted(std::uint64_t index) {
        REQUIRE(raft_core_persisted(core.get(), now_ms, index, &update) == RAFT_CORE_OK);
    }
    std::uint64_t term() const { return raft_core_term(core.get()); }
    std::uint64_t commit() const { return raft_core_commit_index(core.get()); }
    std::uint64_t replied_last() const {
        REQUIRE(update.n_messages > 0);
        return update.messages[update.n_messages - 1].append_result.last_index;
    }
};

const raft_core_entry command(std::uint64_t term) {
    return {term, RAFT_CORE_COMMAND, {}};
}

}  // namespace

TEST_CASE("T1: an older term's entry is not committed by counting (Raft's figure 8)") {
    Engine e(1, 4, {1, 2});
    e.elect();
    CHECK(e.update.is_barrier);
    CHECK(e.update.first_index == 3);
    e.append_result(2, 2);
    CHECK(e.commit() == 1);
    e.persisted(3);
    CHECK(e.commit() == 1);
    e.append_result(2, 3);
    CHECK(e.commit() == 3);
}

TEST_CASE("T2: entries that were never compared with the leader's are not acknowledged") {
    Engine e(2, 3, {1, 1, 2});
    e.append(1, 3, 2, 1, 2);
    CHECK(e.replied_last() == 2);
    e.append(1, 3, 2, 1, 3);
    CHECK(e.commit() == 2);
}

TEST_CASE("T3: no candidate while entries are being written") {
    Engine e(1, 1, {1});
    e.append(2, 2, 1, 1, 1, {command(2)});
    CHECK(e.update.n_entries == 1);
    e.timeout();
    CHECK(!raft_core_is_candidate(e.core.get()));
    e.persisted(2);
    e.timeout();
    CHECK(raft_core_is_candidate(e.core.get()));
}

TEST_CASE("T5: one vote a term") {
    Engine e(1, 1, {1});
    CHECK(e.vote(3, 2, true));
    CHECK(e.update.hard_state_changed);
    CHECK(!e.vote(2, 2, true));
    CHECK(e.vote(3, 2, true));  // a repeat of the same
    CHECK(e.vote(2, 3, true));
}

TEST_CASE("T7: a write that ends under a new leader is acknowledged only as far as compared") {
    Engine e(2, 2, {1, 1});
    e.append(1, 2, 2, 1, 2, {command(2)});
    e.append(3, 3, 2, 1, 2);
    CHECK(e.replied_last() == 2);
    e.persisted(3);
    for (unsigned i = 0; i < e.update.n_messages; i++)
        CHECK(e.update.messages[i].append_result.last_index <= 2);
}

TEST_CASE("a late grant of a pre-vote is not a vote") {
    Engine e(1, 1, {1});
    e.timeout();
    const auto pre_vote_grant = [&](std::uint64_t from) {
        raft_core_message m{};
        m.type = RAFT_CORE_VOTE_RESULT;
        m.peer = from;
        m.term = 2;
        m.vote_result.granted = true;
        m.vote_result.pre_vote = true;
        e.receive(m);
    };
    pre_vote_grant(2);
    CHECK(e.update.hard_state_changed);
    CHECK(e.term() == 2);
    pre_vote_grant(3);
    CHECK(!raft_core_is_leader(e.core.get()));
}

TEST_CASE("an append of an old term is refused without telling what stood in memory") {
    Engine e(2, 5, {1, 1});
    e.append(1, 4, 2, 1, 2, {command(4)});
    REQUIRE(e.update.n_messages == 1);
    CHECK(e.update.messages[0].term == 5);
    CHECK(e.update.messages[0].append_result.last_index == 0);
    CHECK(e.update.n_entries == 0);
}

TEST_CASE("G9: who is no voter votes, and stays what it was") {
    constexpr raft_core_server others[] = {{2, "2"}, {3, "3"}};
    const raft_core_options options{1, "1", 7, 1000, 100, 1024};
    std::unique_ptr<raft_core, FreeCore> core(raft_core_new(&options));
    raft_core_entry first{1, RAFT_CORE_CHANGE, {others, 2}};
    const raft_core_snapshot none{};
    raft_core_update update;
    REQUIRE(raft_core_start(core.get(), 1000, 1, 0, &none, 1, &first, 1, &update) == RAFT_CORE_OK);
    REQUIRE(raft_core_timeout(core.get(), raft_core_deadline_ms(core.get()), &update) == RAFT_CORE_OK);
    CHECK(!raft_core_is_candidate(core.get()));
}
