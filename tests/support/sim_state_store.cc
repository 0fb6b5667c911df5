#include "support/sim_state_store.h"

#include "base/crc32c.h"
#include "base/wire.h"

#include <map>
#include <utility>

namespace weir::test {
namespace {

using Items = std::map<std::string, std::string, std::less<>>;
constexpr std::size_t file_bytes_max = 256u << 20;

std::string encode(const Items& items) {
    std::string bytes;
    WireWriter out(bytes);
    for (const auto& [key, value] : items) {
        out.bytes(key);
        out.bytes(value);
    }
    out.u32(crc32c(0, bytes));
    return bytes;
}

Result<Items> decode(std::string_view bytes, const std::string& path) {
    const Error bad{Errc::corrupt, path + " is not a whole state"};
    if (bytes.size() < 4) return bad;
    WireReader end(bytes.substr(bytes.size() - 4));
    bytes.remove_suffix(4);
    if (end.u32() != crc32c(0, bytes)) return bad;
    Items items;
    WireReader in(bytes);
    while (!in.at_end()) {
        std::string key(in.bytes());
        std::string value(in.bytes());
        if (!in.ok()) return bad;
        items[std::move(key)] = std::move(value);
    }
    return items;
}

class SimStateStore final : public stream::StateStore {
  public:
    SimStateStore(os::Disk& disk, std::string path, Items items)
        : disk_(disk), path_(std::move(path)), items_(std::move(items)) {}

    Result<std::optional<std::string>> get(std::string_view key) override {
        const auto found = items_.find(key);
        if (found == items_.end()) return std::optional<std::string>();
        return std::optional<std::string>(found->second);
    }
    Status scan(std::string_view prefix,
                const std::function<bool(std::string_view key, std::string_view value)>& on_item) override {
        for (auto it = items_.lower_bound(prefix); it != items_.end() && it->first.starts_with(prefix); ++it) {
            if (!on_item(it->first, it->second)) break;
        }
        return {};
    }
    Status commit(const std::vector<stream::StateChange>& changes) override {
        Items next = items_;
        for (const auto& change : changes) {
            if (change.value)
                next[change.key] = *change.value;
            else
                next.erase(change.key);
        }
        TRY(os::replace_file(disk_, path_, encode(next)));
        items_ = std::move(next);
        return {};
    }

  private:
    os::Disk& disk_;
    const std::string path_;
    Items items_;
};

}  // namespace

Result<std::unique_ptr<stream::StateStore>> open_sim_state_store(os::Disk& disk, std::string path) {
    Items items;
    if (TRY(disk.exists(path))) items = TRY(decode(TRY(os::read_file(disk, path, file_bytes_max)), path));
    return std::unique_ptr<stream::StateStore>(
        std::make_unique<SimStateStore>(disk, std::move(path), std::move(items)));
}

}  // namespace weir::test
