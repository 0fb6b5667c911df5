// Wire form of the messages between the nodes of one group (little-endian; framing, checksum and peer are the link's).
//
//   all            u8 version = 1 | u8 type | u64 term
//   1 append       ... | u64 prev index | u64 prev term | u64 commit index | u32 n | n x entry
//                  entry: u64 term | u8 type | u32 size, payload
//   2 its result   ... | u64 rejected (0: none) | u64 last index
//   3 vote         ... | u64 last index | u64 last term | u8 flags: 1 pre-vote, 2 disrupt the leader
//   4 its result   ... | u8 flags: 1 pre-vote, 2 granted
//
// Private to this room.
#pragma once

#include "base/result.h"
#include "consensus/group.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::consensus {

enum class MessageType : std::uint8_t { append = 1, append_result = 2, vote = 3, vote_result = 4 };

struct WireEntry {
    std::uint64_t term = 0;
    EntryType type = EntryType::command;
    std::string payload;
};

// One flat value for all types; fields of the other types are zero.
struct WireMessage {
    MessageType type = MessageType::append;
    std::uint64_t term = 0;
    std::uint64_t prev_index = 0, prev_term = 0, commit_index = 0;  // append
    std::vector<WireEntry> entries;                                 // append
    std::uint64_t rejected = 0;                                     // append_result
    std::uint64_t last_index = 0;                                   // append_result, vote
    std::uint64_t last_term = 0;                                    // vote
    bool pre_vote = false, disrupt_leader = false, granted = false;
};

// Most entries that one message may hold.
constexpr std::uint32_t message_entries_max = 4096;

// `entries` are not written: append_entry() does that, and set_entry_count() says how many there are.
std::string encode_message(const WireMessage& message);
void set_entry_count(std::string& append_message, std::uint32_t count);
void append_entry(std::string& append_message, std::uint64_t term, EntryType type, std::string_view payload);

// Errors: corrupt. What decodes keeps these promises: term > 0; entries' terms are positive, never go back, are at
// least prev_term and at most the message's term; indices do not overflow.
Result<WireMessage> decode_message(std::string_view bytes);

}  // namespace weir::consensus
