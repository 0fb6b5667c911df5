// Payload of a change entry: u8 version = 1 | u16 count | count x { u64 id | u32 size, address }.
#include "base/wire.h"
#include "consensus/group.h"

namespace weir::consensus {
namespace {

constexpr std::uint8_t membership_version = 1;
constexpr std::size_t voters_max = 16;
constexpr std::size_t address_bytes_max = 255;

}  // namespace

std::string Membership::encode() const {
    std::string out;
    WireWriter w(out);
    w.u8(membership_version);
    w.u16(static_cast<std::uint16_t>(voters.size()));
    for (const Voter& v : voters) {
        w.u64(v.id);
        w.bytes(v.address);
    }
    return out;
}

Result<Membership> Membership::decode(std::string_view bytes) {
    WireReader r(bytes);
    const std::uint8_t version = r.u8();
    const std::uint16_t count = r.u16();
    if (version != membership_version || count > voters_max) return Error{Errc::corrupt, "membership: not readable"};
    Membership membership;
    for (std::uint16_t i = 0; i < count; i++) {
        const NodeId id = r.u64();
        membership.voters.push_back({id, std::string(r.bytes())});
    }
    if (!r.ok() || !r.at_end()) return Error{Errc::corrupt, "membership: wrong length"};
    const Status status = membership.check();
    if (!status) return Error{Errc::corrupt, status.error().detail};
    return membership;
}

Status Membership::check() const {
    if (voters.empty() || voters.size() > voters_max)
        return Error{Errc::invalid_argument, "membership: 1 to 16 voters, not " + std::to_string(voters.size())};
    for (const Voter& v : voters) {
        if (v.id == 0) return Error{Errc::invalid_argument, "membership: a voter's id is 0"};
        if (v.address.empty() || v.address.size() > address_bytes_max || v.address.find('\0') != std::string::npos)
            return Error{Errc::invalid_argument, "membership: an address is empty, too long or not text"};
        for (const Voter& other : voters)
            if (&other != &v && (other.id == v.id || other.address == v.address))
                return Error{Errc::invalid_argument, "membership: two voters share an id or an address"};
    }
    return {};
}

bool Membership::contains(NodeId id) const {
    for (const Voter& v : voters)
        if (v.id == id) return true;
    return false;
}

}  // namespace weir::consensus
