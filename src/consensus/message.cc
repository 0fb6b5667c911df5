#include "consensus/message.h"

#include "base/check.h"
#include "base/wire.h"

#include <cstring>
#include <limits>

namespace weir::consensus {
namespace {

constexpr std::uint8_t message_version = 1;
constexpr std::uint8_t pre_vote_flag = 1;
constexpr std::uint8_t second_flag = 2;  // disrupt_leader of a vote, granted of its result
constexpr std::size_t entry_count_at = 2 + 4 * 8;
constexpr std::size_t entry_bytes_min = 8 + 1 + 4;

Error corrupt(const char* what) {
    return Error{Errc::corrupt, std::string("consensus message: ") + what};
}

std::uint8_t flags(bool pre_vote, bool second) {
    return static_cast<std::uint8_t>((pre_vote ? pre_vote_flag : 0) | (second ? second_flag : 0));
}

Status decode_entries(WireReader& r, WireMessage& m) {
    const std::uint32_t count = r.u32();
    if (count > message_entries_max || count > r.left() / entry_bytes_min) return corrupt("too many entries");
    if (m.prev_index > std::numeric_limits<std::uint64_t>::max() - count) return corrupt("an index out of range");
    if ((m.prev_index == 0) != (m.prev_term == 0) || m.prev_term > m.term) return corrupt("the previous entry's term");
    m.entries.reserve(count);
    std::uint64_t term_min = m.prev_term > 0 ? m.prev_term : 1;
    for (std::uint32_t i = 0; i < count; i++) {
        WireEntry e;
        e.term = r.u64();
        const std::uint8_t type = r.u8();
        e.payload = r.bytes();
        if (!r.ok()) return corrupt("cut off");
        if (e.term < term_min || e.term > m.term) return corrupt("an entry's term");
        if (type < 1 || type > 3) return corrupt("an entry's type");
        e.type = static_cast<EntryType>(type);
        term_min = e.term;
        m.entries.push_back(std::move(e));
    }
    return {};
}

}  // namespace

std::string encode_message(const WireMessage& m) {
    std::string out;
    WireWriter w(out);
    w.u8(message_version);
    w.u8(static_cast<std::uint8_t>(m.type));
    w.u64(m.term);
    switch (m.type) {
        case MessageType::append:
            w.u64(m.prev_index);
            w.u64(m.prev_term);
            w.u64(m.commit_index);
            w.u32(0);
            break;
        case MessageType::append_result:
            w.u64(m.rejected);
            w.u64(m.last_index);
            break;
        case MessageType::vote:
            w.u64(m.last_index);
            w.u64(m.last_term);
            w.u8(flags(m.pre_vote, m.disrupt_leader));
            break;
        case MessageType::vote_result:
            w.u8(flags(m.pre_vote, m.granted));
            break;
    }
    return out;
}

void set_entry_count(std::string& message, std::uint32_t count) {
    CHECK(message.size() >= entry_count_at + sizeof(le32));
    const le32 wire = count;
    std::memcpy(message.data() + entry_count_at, &wire, sizeof wire);
}

void append_entry(std::string& message, std::uint64_t term, EntryType type, std::string_view payload) {
    WireWriter w(message);
    w.u64(term);
    w.u8(static_cast<std::uint8_t>(type));
    w.bytes(payload);
}

Result<WireMessage> decode_message(std::string_view bytes) {
    WireReader r(bytes);
    const std::uint8_t version = r.u8(), type = r.u8();
    if (version != message_version || type < 1 || type > 4) return corrupt("unknown version or type");
    WireMessage m;
    m.type = static_cast<MessageType>(type);
    m.term = r.u64();
    if (m.term == 0) return corrupt("term 0");
    std::uint8_t bits = 0;
    switch (m.type) {
        case MessageType::append:
            m.prev_index = r.u64();
            m.prev_term = r.u64();
            m.commit_index = r.u64();
            TRY(decode_entries(r, m));
            break;
        case MessageType::append_result:
            m.rejected = r.u64();
            m.last_index = r.u64();
            break;
        case MessageType::vote:
            m.last_index = r.u64();
            m.last_term = r.u64();
            bits = r.u8();
            m.disrupt_leader = (bits & second_flag) != 0;
            break;
        case MessageType::vote_result:
            bits = r.u8();
            m.granted = (bits & second_flag) != 0;
            break;
    }
    m.pre_vote = (bits & pre_vote_flag) != 0;
    if ((bits & ~(pre_vote_flag | second_flag)) != 0) return corrupt("unknown flags");
    if (!r.ok() || !r.at_end()) return corrupt("wrong length");
    return m;
}

}  // namespace weir::consensus
