#include "consensus/message.h"

#include "base/prng.h"

#include <catch2/catch_test_macros.hpp>

using namespace weir;
using namespace weir::consensus;

namespace {

std::string append(std::uint64_t term, std::uint64_t prev, std::uint64_t prev_term,
                   const std::vector<WireEntry>& entries) {
    WireMessage m;
    m.type = MessageType::append;
    m.term = term;
    m.prev_index = prev;
    m.prev_term = prev_term;
    m.commit_index = prev;
    std::string bytes = encode_message(m);
    for (const WireEntry& e : entries)
        append_entry(bytes, e.term, e.type, e.payload);
    set_entry_count(bytes, static_cast<std::uint32_t>(entries.size()));
    return bytes;
}

bool decodes(const std::string& bytes) {
    return decode_message(bytes).has_value();
}

}  // namespace

TEST_CASE("an append with its entries comes back") {
    auto m = decode_message(append(5, 9, 4, {{4, EntryType::command, "payload"}, {5, EntryType::barrier, ""}}));
    REQUIRE(m);
    CHECK(m.value().type == MessageType::append);
    CHECK(m.value().term == 5);
    CHECK(m.value().prev_index == 9);
    CHECK(m.value().prev_term == 4);
    CHECK(m.value().commit_index == 9);
    REQUIRE(m.value().entries.size() == 2);
    CHECK(m.value().entries[0].payload == "payload");
    CHECK(m.value().entries[1].type == EntryType::barrier);
    CHECK(m.value().entries[1].term == 5);
}

TEST_CASE("the other messages come back") {
    WireMessage m;
    m.term = 7;
    m.type = MessageType::append_result;
    m.rejected = 3;
    m.last_index = 2;
    auto result = decode_message(encode_message(m));
    REQUIRE(result);
    CHECK(result.value().rejected == 3);
    CHECK(result.value().last_index == 2);
    for (const bool first : {false, true})
        for (const bool second : {false, true}) {
            WireMessage v;
            v.term = 7;
            v.type = MessageType::vote;
            v.last_index = 10;
            v.last_term = 6;
            v.pre_vote = first;
            v.disrupt_leader = second;
            auto vote = decode_message(encode_message(v));
            REQUIRE(vote);
            CHECK(vote.value().last_index == 10);
            CHECK(vote.value().last_term == 6);
            CHECK(vote.value().pre_vote == first);
            CHECK(vote.value().disrupt_leader == second);
            v.type = MessageType::vote_result;
            v.granted = second;
            auto granted = decode_message(encode_message(v));
            REQUIRE(granted);
            CHECK(granted.value().pre_vote == first);
            CHECK(granted.value().granted == second);
        }
}

TEST_CASE("terms of an append are in order") {
    CHECK(decodes(append(5, 9, 4, {{4, EntryType::command, ""}, {4, EntryType::command, ""}})));
    CHECK(!decodes(append(5, 9, 4, {{3, EntryType::command, ""}})));                               // below prev
    CHECK(!decodes(append(5, 9, 4, {{5, EntryType::command, ""}, {4, EntryType::command, ""}})));  // goes back
    CHECK(!decodes(append(5, 9, 4, {{6, EntryType::command, ""}})));                               // above the leader's
    CHECK(!decodes(append(5, 9, 6, {})));
    CHECK(!decodes(append(0, 0, 0, {})));
    CHECK(decodes(append(1, 0, 0, {{1, EntryType::change, ""}})));
    CHECK(!decodes(append(1, 0, 1, {})));  // a term for no entry
    CHECK(!decodes(append(1, 1, 0, {})));  // an entry without term
    CHECK(!decodes(append(1, 0, 0, {{0, EntryType::command, ""}})));
    CHECK(decodes(append(5, UINT64_MAX - 1, 4, {{4, EntryType::command, ""}})));
    CHECK(!decodes(append(5, UINT64_MAX, 4, {{4, EntryType::command, ""}})));
    CHECK(!decodes(append(5, 9, 4, {{4, static_cast<EntryType>(4), ""}})));
    CHECK(!decodes(append(5, 9, 4, {{4, static_cast<EntryType>(0), ""}})));
}

TEST_CASE("cut, lengthened and damaged messages are refused or harmless") {
    const std::string bytes = append(5, 9, 4, {{4, EntryType::command, "payload"}, {5, EntryType::barrier, ""}});
    for (std::size_t n = 0; n < bytes.size(); n++)
        CHECK(!decodes(bytes.substr(0, n)));
    CHECK(!decodes(bytes + "x"));
    std::string count = bytes;
    set_entry_count(count, UINT32_MAX);
    CHECK(!decodes(count));
    Prng prng(2);
    for (int i = 0; i < 5000; i++) {
        std::string damaged = bytes;
        for (int k = 0; k < 2; k++)
            damaged[prng.below(damaged.size())] = static_cast<char>(prng.next());
        (void)decode_message(damaged);
    }
}
