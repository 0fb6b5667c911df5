#include "consensus/group.h"

#include "base/limits.h"
#include "base/prng.h"
#include "consensus/message.h"

#include <catch2/catch_test_macros.hpp>

#include <deque>
#include <map>
#include <optional>
#include <set>

using namespace weir;
using namespace weir::consensus;

namespace {

// A log and hard state that survive, and a node that carries effects out on them.
struct Node {
    struct Entry {
        Term term;
        EntryType type;
        std::string payload;
    };
    struct Write {  // one append: cuts the disk from `first` on and puts these there
        LogIndex first;
        std::vector<Entry> entries;
    };

    GroupOptions options;
    // durable
    Term term;
    NodeId vote = 0;
    LogIndex checkpoint;
    Term checkpoint_term;
    Membership membership;
    std::vector<Entry> disk;  // [0] is checkpoint + 1
    // lost in a crash
    std::vector<Entry> log;
    std::deque<Write> writes;
    std::unique_ptr<Group> group;
    std::string next_payload;

    explicit Node(NodeId id = 1, Membership founders = {}) : membership(std::move(founders)) {
        options.self = id;
        options.address = "node" + std::to_string(id);
        options.seed = id * 7919;
        options.payload = [this](LogIndex i) -> Result<std::string> { return at(i).payload; };
    }
    Node(const Node&) = delete;

    Entry& at(LogIndex i) {
        REQUIRE(i > checkpoint);
        REQUIRE(i.value - checkpoint.value <= log.size());
        return log[i.value - checkpoint.value - 1];
    }
    LogIndex last() const { return LogIndex(checkpoint.value + log.size()); }

    Effects start(std::uint64_t now_ms) {
        log = disk;
        writes.clear();
        Restored r;
        r.term = term;
        r.vote = vote;
        r.checkpoint_index = checkpoint;
        r.checkpoint_term = checkpoint_term;
        r.membership = membership;
        for (std::size_t i = 0; i < disk.size(); i++)
            r.entries.push_back({LogIndex(checkpoint.value + i + 1), disk[i].term, disk[i].type,
                                 disk[i].type == EntryType::change ? disk[i].payload : ""});
        Effects effects;
        auto started = Group::start(options, r, now_ms, effects);
        REQUIRE(started);
        group = std::move(started).value();
        carry_out(effects);
        return effects;
    }

    // Hard state is durable at once; appends when persist_one() says so.
    void carry_out(const Effects& e) {
        if (e.hard_state_changed) {
            REQUIRE(e.term >= term);
            if (e.term == term && vote != 0) REQUIRE(e.vote == vote);
            term = e.term;
            vote = e.vote;
        }
        REQUIRE(e.term == term);
        for (const NewEntry& n : e.append) {
            REQUIRE(n.index > checkpoint);
            REQUIRE(n.index.value <= last().value + 1);
            log.resize(n.index.value - checkpoint.value - 1);
            std::string payload = n.payload;
            if (n.type == EntryType::command && payload.empty()) payload = next_payload;
            log.push_back({n.term, n.type, std::move(payload)});
        }
        if (e.append.empty()) return;
        Write w{e.append[0].index, {}};
        for (LogIndex i = w.first; i <= last(); i.value++)
            w.entries.push_back(at(i));
        writes.push_back(std::move(w));
    }

    // The oldest write reaches the disk.
    Effects persist_one(std::uint64_t now_ms) {
        REQUIRE(!writes.empty());
        const Write w = std::move(writes.front());
        writes.pop_front();
        REQUIRE(w.first > checkpoint);
        disk.resize(w.first.value - checkpoint.value - 1);
        disk.insert(disk.end(), w.entries.begin(), w.entries.end());
        Effects e = group->persisted(LogIndex(w.first.value + w.entries.size() - 1), w.entries.back().term, now_ms);
        carry_out(e);
        return e;
    }
    void persist_all(std::uint64_t now_ms) {
        while (!writes.empty())
            persist_one(now_ms);
    }
    Effects take_checkpoint(LogIndex index, std::uint64_t now_ms) {
        REQUIRE(disk.size() >= index.value - checkpoint.value);
        const Term t = at(index).term;
        const std::size_t n = index.value - checkpoint.value;
        for (std::size_t i = 0; i < n; i++)
            if (log[i].type == EntryType::change) membership = Membership::decode(log[i].payload).value();
        log.erase(log.begin(), log.begin() + static_cast<std::ptrdiff_t>(n));
        disk.erase(disk.begin(), disk.begin() + static_cast<std::ptrdiff_t>(n));
        checkpoint = index;
        checkpoint_term = t;
        Effects e = group->checkpointed(index, t, now_ms);
        carry_out(e);
        return e;
    }
    LogIndex propose(const std::string& payload, std::uint64_t now_ms, Effects& e) {
        next_payload = payload;
        auto index = group->propose(payload.size(), now_ms, e);
        REQUIRE(index);
        REQUIRE(e.append.size() == 1);
        REQUIRE(e.append[0].index == index.value());
        carry_out(e);
        return index.value();
    }
};

Errc start_error(const GroupOptions& options, const Restored& restored) {
    Effects effects;
    auto group = Group::start(options, restored, 0, effects);
    REQUIRE(!group);
    return group.error().code;
}

Restored::Entry change_entry(std::uint64_t index, std::uint64_t term) {
    return {LogIndex(index), Term(term), EntryType::change, Membership{{{1, "1"}}}.encode()};
}

Restored::Entry command_entry(std::uint64_t index, std::uint64_t term) {
    return {LogIndex(index), Term(term), EntryType::command, ""};
}

}  // namespace

// ------------------------------------------------------------------------------------------------------ one voter

TEST_CASE("a new group of one leads at once and commits when its first entries are durable") {
    Node node;
    const Effects e = node.start(1000);
    CHECK(e.is_leader);
    CHECK(e.role_changed);
    CHECK(e.hard_state_changed);
    CHECK(e.term == Term(2));
    CHECK(e.vote == 1);
    CHECK(e.messages.empty());
    REQUIRE(!e.append.empty());
    CHECK(e.append[0].index == LogIndex(1));
    CHECK(e.append[0].term == Term(1));
    CHECK(e.append[0].type == EntryType::change);
    auto founders = Membership::decode(e.append[0].payload);
    REQUIRE(founders);
    CHECK(founders.value() == Membership{{{1, "node1"}}});
    CHECK(e.commit_index == LogIndex(0));  // nothing is durable yet
    CHECK(node.group->deadline_ms() == UINT64_MAX);
    CHECK(node.group->leader() == 1);

    node.persist_all(1001);
    CHECK(node.group->commit_index() == node.group->last_index());
    CHECK(node.group->membership() == founders.value());
}

TEST_CASE("commands are committed when they are durable, not before, in any grouping") {
    Node node;
    node.start(0);
    node.persist_all(0);
    const LogIndex before = node.group->commit_index();
    Effects e;
    const LogIndex a = node.propose("a", 1, e);
    CHECK(e.commit_index == before);
    CHECK(e.append[0].type == EntryType::command);
    CHECK(e.append[0].payload.empty());
    CHECK(e.append[0].term == node.group->term());
    CHECK(!e.hard_state_changed);
    CHECK(!e.role_changed);
    const LogIndex b = node.propose("b", 1, e);
    const LogIndex c = node.propose("c", 2, e);
    CHECK(b.value == a.value + 1);
    CHECK(c.value == a.value + 2);
    CHECK(node.group->last_index() == c);
    CHECK(node.group->persisted(b, 3).commit_index == b);
    CHECK(node.group->persisted(a, 3).commit_index == b);                      // older: nothing
    CHECK(node.group->persisted(b, 3).commit_index == b);                      // again: nothing
    CHECK(node.group->persisted(LogIndex(c.value + 1), 3).commit_index == b);  // not in the log
    CHECK(node.group->persisted(c, Term(99), 3).commit_index == b);            // another entry
    CHECK(node.group->persisted(c, node.group->term(), 3).commit_index == c);
}

TEST_CASE("thousands of entries may be in flight to the disk") {
    Node node;
    node.start(0);
    Effects e;
    LogIndex last;
    for (int i = 0; i < 5000; i++)
        last = node.propose("x", 0, e);
    CHECK(node.group->commit_index() == LogIndex(0));
    CHECK(node.group->persisted(last, 0).commit_index == last);
}

TEST_CASE("a group of one leads again after a restart and commits what its log holds") {
    Node node;
    node.start(0);
    Effects e;
    for (int i = 0; i < 10; i++)
        node.propose("x", 0, e);
    node.persist_all(0);
    const LogIndex last = node.last();
    const Term term = node.group->term();

    SECTION("without a checkpoint") {
        const Effects again = node.start(5000);
        CHECK(again.is_leader);
        CHECK(again.hard_state_changed);
        CHECK(again.term.value == term.value + 1);
        CHECK(again.vote == 1);
        CHECK(again.append.empty());
        CHECK(again.commit_index == last);
        CHECK(node.group->deadline_ms() == UINT64_MAX);
        CHECK(node.propose("y", 5000, e).value == last.value + 1);
        CHECK(e.append[0].term == again.term);
        CHECK(e.commit_index == last);
        node.persist_all(5001);
        CHECK(node.group->commit_index() == node.last());
        CHECK(node.group->membership() == Membership{{{1, "node1"}}});
    }
    SECTION("with a checkpoint below the end of the log") {
        node.take_checkpoint(LogIndex(5), 1);
        CHECK(node.group->term_at(LogIndex(5)) == term);
        CHECK(node.group->term_at(LogIndex(4)) == Term(0));
        CHECK(node.group->term_at(last) == term);
        const Effects again = node.start(5000);
        CHECK(again.is_leader);
        CHECK(again.commit_index == last);
        CHECK(again.append.empty());
        CHECK(again.term.value == term.value + 1);
        CHECK(node.group->deadline_ms() == UINT64_MAX);
        node.persist_all(5001);
        CHECK(node.group->commit_index() == node.last());
    }
    SECTION("with a checkpoint at the end of the log") {
        node.take_checkpoint(last, 1);
        const Effects again = node.start(5000);
        CHECK(again.is_leader);
        CHECK(again.commit_index == last);
        CHECK(again.append.empty());
        node.propose("y", 5000, e);
        node.persist_all(5001);
        CHECK(node.group->commit_index() == node.last());
        CHECK(node.last() > last);
    }
    SECTION("again and again, with proposals, crashes before the disk and checkpoints") {
        Prng prng(11);
        for (int round = 0; round < 200; round++) {
            node.start(static_cast<std::uint64_t>(round) * 10);
            CHECK(node.group->is_leader());
            for (std::uint64_t n = prng.below(5); n > 0; n--)
                node.propose("z", 0, e);
            while (!node.writes.empty() && prng.chance(0.7))
                node.persist_one(0);
            const LogIndex commit = node.group->commit_index();
            if (commit > node.checkpoint && prng.chance(0.3)) {
                node.take_checkpoint(
                    LogIndex(node.checkpoint.value + 1 + prng.below(commit.value - node.checkpoint.value)), 0);
                CHECK(node.group->commit_index() == commit);
            }
        }
        node.persist_all(0);
        CHECK(node.group->commit_index() == node.last());
    }
}

TEST_CASE("a crash before entry 1 is durable leaves a new group that keeps its term") {
    Node node;
    node.start(0);
    CHECK(node.disk.empty());
    const Effects again = node.start(10);
    CHECK(again.is_leader);
    CHECK(again.term == Term(3));
    CHECK(again.append[0].index == LogIndex(1));
    CHECK(again.append[0].term == Term(1));
    node.persist_all(10);
    CHECK(node.group->commit_index() == node.last());
}

TEST_CASE("timeouts of a group of one do nothing") {
    Node node;
    node.start(0);
    node.persist_all(0);
    for (std::uint64_t now = 0; now < 100'000; now += 500) {
        const Effects e = node.group->timeout(now);
        CHECK(e.is_leader);
        CHECK(!e.role_changed);
        CHECK(e.append.empty());
        CHECK(e.messages.empty());
        CHECK(!e.hard_state_changed);
    }
}

TEST_CASE("a checkpoint at or below the present one does nothing") {
    Node node;
    node.start(0);
    Effects e;
    for (int i = 0; i < 5; i++)
        node.propose("x", 0, e);
    node.persist_all(0);
    node.take_checkpoint(LogIndex(4), 0);
    const Term t = node.checkpoint_term;
    CHECK(node.group->checkpointed(LogIndex(4), t, 0).commit_index == node.last());
    CHECK(node.group->checkpointed(LogIndex(2), t, 0).commit_index == node.last());
    node.take_checkpoint(LogIndex(5), 0);
    node.propose("y", 0, e);
    node.persist_all(0);
    CHECK(node.group->commit_index() == node.last());
}

TEST_CASE("an entry beyond the ceiling is refused") {
    Node node;
    node.start(0);
    Effects e;
    auto index = node.group->propose(limits::entry_bytes_max + 1, 0, e);
    REQUIRE(!index);
    CHECK(index.error().code == Errc::too_large);
    CHECK(node.group->propose(limits::entry_bytes_max, 0, e));
}

TEST_CASE("start refuses options and logs that cannot be") {
    GroupOptions options;
    Restored empty;
    options.self = 0;
    CHECK(start_error(options, empty) == Errc::invalid_argument);
    options = {};
    options.heartbeat_ms = options.election_timeout_ms;
    CHECK(start_error(options, empty) == Errc::invalid_argument);
    options = {};
    Restored others;
    others.membership.voters = {{2, "2"}, {3, "3"}};
    CHECK(start_error(options, others) == Errc::invalid_argument);
    options.address.clear();
    CHECK(start_error(options, empty) == Errc::invalid_argument);
    options = {};

    const auto log = [](std::vector<Restored::Entry> entries, std::uint64_t term) {
        Restored r;
        r.term = Term(term);
        r.entries = std::move(entries);
        return r;
    };
    Effects effects;
    CHECK(Group::start(options, log({change_entry(1, 1), command_entry(2, 2)}, 2), 0, effects));
    CHECK(start_error(options, log({change_entry(1, 1), command_entry(3, 2)}, 2)) == Errc::corrupt);  // a hole
    CHECK(start_error(options, log({command_entry(2, 1)}, 2)) == Errc::corrupt);                      // no beginning
    CHECK(start_error(options, log({command_entry(1, 1)}, 2)) == Errc::corrupt);                      // no membership
    CHECK(start_error(options, log({change_entry(1, 2), command_entry(2, 1)}, 2)) == Errc::corrupt);  // terms go back
    CHECK(start_error(options, log({change_entry(1, 1), command_entry(2, 3)}, 2)) ==
          Errc::corrupt);  // above hard state
    CHECK(start_error(options, log({change_entry(1, 0)}, 2)) == Errc::corrupt);
    Restored damaged = log({change_entry(1, 1)}, 1);
    damaged.entries[0].payload = "?";
    CHECK(start_error(options, damaged) == Errc::corrupt);
    Restored checkpoint = log({command_entry(8, 2)}, 2);
    checkpoint.checkpoint_index = LogIndex(7);
    CHECK(start_error(options, checkpoint) == Errc::corrupt);  // no term
    checkpoint.checkpoint_term = Term(2);
    CHECK(start_error(options, checkpoint) == Errc::corrupt);  // no membership
    checkpoint.membership.voters = {{1, "1"}};
    CHECK(Group::start(options, checkpoint, 0, effects));
    checkpoint.checkpoint_term = Term(3);
    CHECK(start_error(options, checkpoint) == Errc::corrupt);  // above the entries' and the hard state's
}

// ------------------------------------------------------------------------------------------------------ three voters

namespace {

Membership three() {
    return {{{1, "node1"}, {2, "node2"}, {3, "node3"}}};
}

// Three nodes, virtual time, FIFO links that lose what is under way when a node crashes or a link is cut. Checks on
// every step: one leader a term; what was committed once is what everybody commits; a leader's log holds all that is
// committed.
struct Cluster {
    struct Wire {
        NodeId from;
        Message message;
        std::uint64_t due;
    };
    Prng prng;
    std::uint64_t now = 1000;
    std::map<NodeId, std::unique_ptr<Node>> nodes;
    std::map<std::pair<NodeId, NodeId>, std::deque<Wire>> links;
    std::set<std::pair<NodeId, NodeId>> cut;
    std::map<std::uint64_t, NodeId> leader_of_term;
    std::map<std::uint64_t, std::pair<std::uint64_t, std::string>> committed;  // index to term and payload
    std::map<NodeId, std::uint64_t> shown;
    std::uint64_t proposals = 0, elections = 0, restarts = 0, truncations = 0;

    explicit Cluster(std::uint64_t seed) : prng(seed) {
        for (NodeId id = 1; id <= 3; id++) {
            nodes[id] = std::make_unique<Node>(id, three());
            nodes[id]->options.seed = prng.next();
            handle(id, nodes[id]->start(now));
        }
    }
    Node& node(NodeId id) { return *nodes.at(id); }

    // `e` was carried out by the node already; messages and claims are left.
    void handle(NodeId id, const Effects& e) {
        Node& n = node(id);
        for (const Message& m : e.messages) {
            REQUIRE(m.to != id);
            if (cut.contains({id, m.to})) continue;
            links[{id, m.to}].push_back({id, m, now + 1 + prng.below(10)});
        }
        if (e.is_leader) {
            auto [it, is_new] = leader_of_term.emplace(e.term.value, id);
            REQUIRE(it->second == id);
            if (is_new) {
                elections++;
                for (const auto& [index, entry] : committed)
                    if (index > n.checkpoint.value) REQUIRE(n.group->term_at(LogIndex(index)) == Term(entry.first));
            }
        }
        REQUIRE(e.commit_index.value >= shown[id]);
        REQUIRE(e.commit_index <= n.last());
        for (std::uint64_t i = std::max(shown[id], n.checkpoint.value) + 1; i <= e.commit_index.value; i++) {
            const Node::Entry& entry = n.at(LogIndex(i));
            auto it = committed.emplace(i, std::pair(entry.term.value, entry.payload)).first;
            REQUIRE(it->second == std::pair(entry.term.value, entry.payload));
        }
        shown[id] = e.commit_index.value;
    }
    void deliver(NodeId to, Wire wire) {
        // Completed at the moment of sending in the real thing: here when it arrives, so that the log may have moved
        // on.
        auto bytes = node(wire.from).group->complete(wire.message);
        if (!bytes) return;
        Node& n = node(to);
        const LogIndex last_before = n.last();
        const Effects e = n.group->receive(wire.from, bytes.value(), now);
        if (!e.append.empty() && e.append[0].index <= last_before) truncations++;
        n.carry_out(e);
        handle(to, e);
    }
    void restart(NodeId id) {
        restarts++;
        for (auto& [link, queue] : links)
            if (link.first == id || link.second == id) queue.clear();
        shown[id] = node(id).checkpoint.value;
        handle(id, node(id).start(now));
    }
    void step(double crash, double propose, double cut_link) {
        now += 1;
        for (auto& [link, queue] : links)
            while (!queue.empty() && queue.front().due <= now) {
                Wire wire = std::move(queue.front());
                queue.pop_front();
                deliver(link.second, std::move(wire));
            }
        for (NodeId id = 1; id <= 3; id++) {
            Node& n = node(id);
            if (!n.writes.empty() && prng.chance(0.3)) handle(id, n.persist_one(now));
            if (now >= n.group->deadline_ms()) {
                const Effects e = n.group->timeout(now);
                n.carry_out(e);
                handle(id, e);
            }
            if (n.group->is_leader() && prng.chance(propose)) {
                Effects e;
                n.propose("p" + std::to_string(proposals++), now, e);
                handle(id, e);
            }
            if (prng.chance(crash)) restart(id);
        }
        if (prng.chance(cut_link)) {
            const NodeId a = 1 + prng.below(3), b = 1 + prng.below(3);
            if (a != b) {
                cut.insert({a, b});
                links[{a, b}].clear();
                links[{b, a}].clear();
            }
        }
        if (!cut.empty() && prng.chance(0.01)) cut.clear();
    }
    // Below what all three hold durably and know as committed: installs are not built.
    void checkpoint_somebody() {
        std::uint64_t index = UINT64_MAX;
        for (auto& [id, n] : nodes) {
            if (!n->writes.empty()) return;
            index = std::min({index, n->group->commit_index().value, n->checkpoint.value + n->disk.size()});
        }
        Node& n = node(1 + prng.below(3));
        if (index > n.checkpoint.value) n.take_checkpoint(LogIndex(index), now);
    }
    NodeId leader() {
        for (auto& [id, n] : nodes)
            if (n->group->is_leader()) return id;
        return 0;
    }
};

}  // namespace

TEST_CASE("three voters elect, replicate and commit") {
    Cluster c(1);
    CHECK(c.leader() == 0);
    for (auto& [id, n] : c.nodes) {
        CHECK(n->log.size() == 1);
        CHECK(n->log[0].type == EntryType::change);
        CHECK(n->log[0].payload == three().encode());
        CHECK(n->group->commit_index() == LogIndex(0));
        CHECK(n->group->deadline_ms() > c.now);
        Effects e;
        auto refused = n->group->propose(1, c.now, e);
        REQUIRE(!refused);
        CHECK(refused.error().code == Errc::not_leader);
    }
    for (int i = 0; i < 3000 && c.leader() == 0; i++)
        c.step(0, 0, 0);
    REQUIRE(c.leader() != 0);
    for (int i = 0; i < 1000; i++)
        c.step(0, 0.1, 0);
    for (int i = 0; i < 500; i++)
        c.step(0, 0, 0);
    CHECK(c.elections == 1);
    CHECK(c.proposals > 50);
    for (auto& [id, n] : c.nodes) {
        CHECK(n->group->leader() == c.leader());
        CHECK(n->group->commit_index() == n->last());
        CHECK(n->group->membership() == three());
        CHECK(n->last() == c.node(1).last());
        CHECK(n->last().value > c.proposals);
    }
}

TEST_CASE("three voters under crashes, cuts, lost writes and checkpoints") {
    std::uint64_t elections = 0, committed = 0, truncations = 0;
    for (std::uint64_t seed = 1; seed <= 100; seed++) {
        INFO("seed " << seed);
        Cluster c(seed);
        for (int i = 0; i < 6000; i++) {
            c.step(0.0007, 0.05, 0.003);
            if (c.prng.chance(0.002)) c.checkpoint_somebody();
        }
        c.cut.clear();
        for (int i = 0; i < 4000; i++)
            c.step(0, 0, 0);  // calm
        REQUIRE(c.leader() != 0);
        Effects e;  // one more entry, which ends a tail that only one follower has
        c.node(c.leader()).propose("last", c.now, e);
        c.handle(c.leader(), e);
        for (int i = 0; i < 2000; i++)
            c.step(0, 0, 0);
        REQUIRE(c.leader() != 0);
        for (auto& [id, n] : c.nodes) {
            REQUIRE(n->last() == c.node(c.leader()).last());
            REQUIRE(n->group->commit_index() == n->last());
        }
        elections += c.elections;
        committed += c.committed.size();
        truncations += c.truncations;
    }
    CHECK(elections > 100);
    CHECK(committed > 2000);
    CHECK(truncations > 0);  // the rare path was taken
}

TEST_CASE("random bytes and damaged messages change nothing that is committed") {
    Cluster c(3);
    for (int i = 0; i < 3000 && c.leader() == 0; i++)
        c.step(0, 0, 0);
    for (int i = 0; i < 300; i++)
        c.step(0, 0.1, 0);
    Prng prng(9);
    Node& n = c.node(1 + (c.leader() % 3));  // a follower
    const LogIndex commit = n.group->commit_index();
    for (int i = 0; i < 20'000; i++) {
        WireMessage m;
        m.type = static_cast<MessageType>(1 + prng.below(4));
        m.term = prng.below(6);
        m.prev_index = prng.below(n.last().value + 3);
        m.prev_term = prng.below(4);
        m.commit_index = prng.below(n.last().value + 3);
        m.rejected = prng.below(n.last().value + 3);
        m.last_index = prng.below(n.last().value + 3);
        m.last_term = prng.below(4);
        m.pre_vote = prng.chance(0.5);
        m.granted = prng.chance(0.5);
        m.disrupt_leader = prng.chance(0.5);
        std::string bytes = encode_message(m);
        if (m.type == MessageType::append && prng.chance(0.5)) {
            append_entry(bytes, 1 + prng.below(4), EntryType::command, "hostile");
            set_entry_count(bytes, 1);
        }
        if (prng.chance(0.3)) bytes[prng.below(bytes.size())] = static_cast<char>(prng.next());
        const Effects e = n.group->receive(prng.below(5), bytes, c.now);
        n.carry_out(e);
        CHECK(e.commit_index >= commit);
        if (prng.chance(0.1)) n.persist_all(c.now);
        if (prng.chance(0.05)) n.carry_out(n.group->timeout(c.now += 100));
    }
    CHECK(n.group->term_at(commit) != Term(0));
}

TEST_CASE("the leader is deaf to false acknowledgements") {
    Cluster c(4);
    for (int i = 0; i < 3000 && c.leader() == 0; i++)
        c.step(0, 0, 0);
    for (int i = 0; i < 500; i++)
        c.step(0, 0, 0);
    Node& n = c.node(c.leader());
    const NodeId peer = 1 + (c.leader() % 3);
    Effects e;
    n.propose("x", c.now, e);
    n.persist_all(c.now);
    const LogIndex commit = n.group->commit_index();
    CHECK(commit < n.last());
    const auto result = [&](std::uint64_t rejected, std::uint64_t last) {
        WireMessage m;
        m.type = MessageType::append_result;
        m.term = n.group->term().value;
        m.rejected = rejected;
        m.last_index = last;
        const Effects effects = n.group->receive(peer, encode_message(m), c.now);
        n.carry_out(effects);
        return effects;
    };
    CHECK(result(0, n.last().value + 1).commit_index == commit);  // more than there is
    CHECK(result(commit.value, 0).messages.empty());              // takes back what it acknowledged
    CHECK(result(n.last().value + 5, 0).messages.empty());
    CHECK(result(0, n.last().value).commit_index == n.last());  // and now the truth
}

TEST_CASE("complete: entries of a former term are not sent") {
    Cluster c(5);
    for (int i = 0; i < 3000 && c.leader() == 0; i++)
        c.step(0, 0, 0);
    for (int i = 0; i < 500; i++)
        c.step(0, 0, 0);
    Node& n = c.node(c.leader());
    Effects e;
    n.propose("payload", c.now, e);
    REQUIRE(!e.messages.empty());
    const Message m = e.messages[0];
    REQUIRE(m.entry_count >= 1);
    auto bytes = n.group->complete(m);
    REQUIRE(bytes);
    auto decoded = decode_message(bytes.value());
    REQUIRE(decoded);
    REQUIRE(decoded.value().entries.size() == m.entry_count);
    CHECK(decoded.value().entries.back().payload == "payload");

    Message gone = m;
    gone.first_entry = LogIndex(n.last().value + 1);
    auto missing = n.group->complete(gone);
    REQUIRE(!missing);
    CHECK(missing.error().code == Errc::not_found);

    // A vote request of a higher term that disrupts: the leader steps down.
    WireMessage vote;
    vote.type = MessageType::vote;
    vote.term = n.group->term().value + 1;
    vote.last_index = 1000;
    vote.last_term = vote.term;
    vote.disrupt_leader = true;
    const Effects down = n.group->receive(1 + (n.options.self % 3), encode_message(vote), c.now);
    CHECK(!down.is_leader);
    CHECK(down.role_changed);
    CHECK(down.hard_state_changed);
    auto former = n.group->complete(m);
    REQUIRE(!former);
    CHECK(former.error().code == Errc::not_leader);
}

TEST_CASE("a long catch-up goes in messages of bounded size") {
    Cluster c(6);
    for (int i = 0; i < 3000 && c.leader() == 0; i++)
        c.step(0, 0, 0);
    for (int i = 0; i < 300; i++)
        c.step(0, 0, 0);
    const NodeId behind = 1 + (c.leader() % 3);
    for (NodeId id = 1; id <= 3; id++)
        if (id != behind) c.cut.insert({id, behind});
    Node& n = c.node(c.leader());
    for (int i = 0; i < 30; i++) {
        Effects e;
        n.propose(std::string(3 << 20, static_cast<char>('a' + i % 26)), c.now, e);
        c.handle(n.options.self, e);
    }
    n.persist_all(c.now);
    Message all;
    WireMessage header;
    header.type = MessageType::append;
    header.term = n.group->term().value;
    header.prev_index = 1;
    header.prev_term = 1;
    all.bytes = encode_message(header);
    all.first_entry = LogIndex(2);
    all.entry_count = static_cast<std::uint32_t>(n.last().value - 1);
    auto bytes = n.group->complete(all);
    REQUIRE(bytes);
    CHECK(bytes.value().size() < 20u << 20);
    auto decoded = decode_message(bytes.value());
    REQUIRE(decoded);
    CHECK(decoded.value().entries.size() < all.entry_count);
    c.cut.clear();
    for (int i = 0; i < 4000; i++) {
        c.step(0, 0, 0);
        if (c.node(behind).group->commit_index() == n.last() && c.node(behind).last() == n.last()) break;
    }
    CHECK(c.node(behind).last() == n.last());
}
