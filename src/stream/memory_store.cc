// The state store of simulation: a map. Single-threaded; what was committed stays as long as the object lives.
#include "stream/state_store.h"

#include <map>

namespace weir::stream {

namespace {

class MemoryStore final : public StateStore {
  public:
    Result<std::optional<std::string>> get(std::string_view key) override {
        const auto found = items_.find(key);
        if (found == items_.end()) return std::optional<std::string>();
        return std::optional<std::string>(found->second);
    }

    Status scan(std::string_view prefix,
                const std::function<bool(std::string_view key, std::string_view value)>& on_item) override {
        for (auto it = items_.lower_bound(prefix); it != items_.end(); ++it) {
            if (std::string_view(it->first).substr(0, prefix.size()) != prefix) break;
            if (!on_item(it->first, it->second)) break;
        }
        return {};
    }

    Status commit(const std::vector<StateChange>& changes) override {
        for (const StateChange& change : changes) {
            if (change.value) {
                items_.insert_or_assign(change.key, *change.value);
            } else {
                items_.erase(change.key);
            }
        }
        return {};
    }

  private:
    std::map<std::string, std::string, std::less<>> items_;
};

}  // namespace

std::unique_ptr<StateStore> make_memory_store() {
    return std::make_unique<MemoryStore>();
}

}  // namespace weir::stream
