// The state store on LMDB.
//
//   key      as given up to 480 bytes; a longer one as its first 480 bytes and the XXH3-128 of all of it, so
//            that prefixes of up to 480 bytes still find it (the order among long keys that share 480 bytes is
//            the hash's)
//   value    crc u32 | key size u32 | the key, when it was longer, else nothing | value bytes
//            the CRC-32C is over the whole key and everything behind the crc
#include "base/crc32c.h"
#include "base/wire.h"
#include "stream/state_store.h"

#include <lmdb.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <numeric>
#include <sys/stat.h>
#include <system_error>
#include <xxhash.h>

namespace weir::stream {

namespace {

constexpr std::size_t plain_key_bytes_max = 480;
constexpr unsigned readers_max = 16;

Error error_of(int code, const char* doing) {
    Error error;
    error.detail = std::string("state store: ") + doing + ": " + mdb_strerror(code);
    switch (code) {
        case MDB_MAP_FULL:
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
            error.code = Errc::disk_full;
            break;
        case MDB_CORRUPTED:
        case MDB_PAGE_NOTFOUND:
        case MDB_INVALID:
        case MDB_VERSION_MISMATCH:
        case MDB_PANIC:
            error.code = Errc::corrupt;
            break;
        default:
            error.code = Errc::io;
            break;
    }
    if (code > 0) error.os_errno = code;  // LMDB's own codes are negative
    return error;
}

MDB_val val_of(std::string_view bytes) {
    return {bytes.size(), const_cast<char*>(bytes.data())};
}
std::string_view view_of(const MDB_val& val) {
    return {static_cast<const char*>(val.mv_data), val.mv_size};
}

std::string stored_key(std::string_view key) {
    if (key.size() <= plain_key_bytes_max) return std::string(key);
    std::string out(key.substr(0, plain_key_bytes_max));
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(key.data(), key.size()));
    out.append(reinterpret_cast<const char*>(hash.digest), sizeof hash.digest);
    return out;
}

struct Item {
    std::string_view key;
    std::string_view value;
};

void encode_item(std::string_view key, std::string_view value, std::string& out) {
    const std::string_view kept_key = key.size() > plain_key_bytes_max ? key : std::string_view();
    out.assign(4, '\0');
    WireWriter writer(out);
    writer.bytes(kept_key);
    writer.raw(value);
    const le32 crc(crc32c(crc32c(0, key), std::string_view(out).substr(4)));
    out.replace(0, 4, bytes_of(crc));
}

Result<Item> decode_item(std::string_view raw_key, std::string_view bytes) {
    WireReader reader(bytes);
    const std::uint32_t crc = reader.u32();
    const std::string_view covered = bytes.substr(std::min<std::size_t>(4, bytes.size()));
    const std::string_view kept_key = reader.bytes();
    if (!reader.ok()) return Error{Errc::corrupt, "state store: a value is cut short"};
    Item item{raw_key.size() > plain_key_bytes_max ? kept_key : raw_key, reader.take(reader.left())};
    if (crc32c(crc32c(0, item.key), covered) != crc) return Error{Errc::corrupt, "state store: a value's CRC is wrong"};
    return item;
}

// A read transaction for one call; LMDB reuses its slot in the reader table.
class Reading {
  public:
    static Result<Reading> begin(MDB_env* env) {
        Reading reading;
        const int code = mdb_txn_begin(env, nullptr, MDB_RDONLY, &reading.txn_);
        if (code != MDB_SUCCESS) return error_of(code, "begin reading");
        return reading;
    }
    Reading(Reading&& other) noexcept : txn_(std::exchange(other.txn_, nullptr)) {}
    Reading& operator=(Reading&&) = delete;
    ~Reading() {
        if (txn_ != nullptr) mdb_txn_abort(txn_);
    }
    MDB_txn* txn() const { return txn_; }

  private:
    Reading() = default;
    MDB_txn* txn_ = nullptr;
};

class LmdbStore final : public StateStore {
  public:
    ~LmdbStore() override {
        if (env_ != nullptr) mdb_env_close(env_);
    }

    Status open(const std::string& dir, std::uint64_t map_bytes) {
        std::error_code made;
        std::filesystem::create_directories(dir, made);
        if (made) return Error{Errc::io, "state store: make " + dir + ": " + made.message(), made.value()};
        if (const int code = mdb_env_create(&env_); code != MDB_SUCCESS) return error_of(code, "create");
        (void)mdb_env_set_maxreaders(env_, readers_max);
        if (const int code = mdb_env_set_mapsize(env_, map_bytes); code != MDB_SUCCESS) {
            return error_of(code, "set the map's size");
        }
        // NOTLS ties a reader to its transaction instead of its thread; nothing about durability changes.
        if (const int code = mdb_env_open(env_, dir.c_str(), MDB_NOTLS, 0600); code != MDB_SUCCESS) {
            return error_of(code, ("open " + dir).c_str());
        }
        // LMDB reads through its map: a file that was cut short would end the process by SIGBUS, without a word.
        MDB_envinfo info{};
        MDB_stat stat{};
        struct ::stat file {};
        if (mdb_env_info(env_, &info) == MDB_SUCCESS && mdb_env_stat(env_, &stat) == MDB_SUCCESS &&
            ::stat((dir + "/data.mdb").c_str(), &file) == 0) {
            const auto needed = (static_cast<std::uint64_t>(info.me_last_pgno) + 1) * stat.ms_psize;
            if (static_cast<std::uint64_t>(file.st_size) < needed) {
                return Error{Errc::corrupt, dir + "/data.mdb has " + std::to_string(file.st_size) + " bytes of " +
                                                std::to_string(needed) +
                                                ": it was cut short. Restore the data directory from a backup"};
            }
        }
        MDB_txn* txn = nullptr;
        int code = mdb_txn_begin(env_, nullptr, 0, &txn);
        if (code != MDB_SUCCESS) return error_of(code, "begin");
        code = mdb_dbi_open(txn, nullptr, 0, &dbi_);
        if (code != MDB_SUCCESS) {
            mdb_txn_abort(txn);
            return error_of(code, "open the table");
        }
        code = mdb_txn_commit(txn);
        return code == MDB_SUCCESS ? Status() : Status(error_of(code, "commit"));
    }

    Result<std::optional<std::string>> get(std::string_view key) override {
        if (key.empty()) return std::optional<std::string>();
        const Reading reading = TRY(Reading::begin(env_));
        const std::string raw = stored_key(key);
        MDB_val raw_key = val_of(raw);
        MDB_val raw_value;
        const int code = mdb_get(reading.txn(), dbi_, &raw_key, &raw_value);
        if (code == MDB_NOTFOUND) return std::optional<std::string>();
        if (code != MDB_SUCCESS) return error_of(code, "get");
        const Item item = TRY(decode_item(raw, view_of(raw_value)));
        if (item.key != key) return std::optional<std::string>();  // another key of the same hash: not in 2^64 tries
        return std::optional<std::string>(std::string(item.value));
    }

    Status scan(std::string_view prefix,
                const std::function<bool(std::string_view key, std::string_view value)>& on_item) override {
        const Reading reading = TRY(Reading::begin(env_));
        MDB_cursor* cursor = nullptr;
        if (const int code = mdb_cursor_open(reading.txn(), dbi_, &cursor); code != MDB_SUCCESS) {
            return error_of(code, "open a cursor");
        }
        Status scanned = scan_from(cursor, prefix, on_item);
        mdb_cursor_close(cursor);
        return scanned;
    }

    Status commit(const std::vector<StateChange>& changes) override {
        MDB_txn* txn = nullptr;
        if (const int code = mdb_txn_begin(env_, nullptr, 0, &txn); code != MDB_SUCCESS) return error_of(code, "begin");
        Status written = write_all(txn, changes);
        if (!written) {
            mdb_txn_abort(txn);
            return written;
        }
        const int code = mdb_txn_commit(txn);
        return code == MDB_SUCCESS ? Status() : Status(error_of(code, "commit"));
    }

  private:
    static Status scan_from(MDB_cursor* cursor, std::string_view prefix,
                            const std::function<bool(std::string_view, std::string_view)>& on_item) {
        // Longer prefixes than a stored key has in the clear are compared on the whole key.
        const std::string_view begin = prefix.substr(0, plain_key_bytes_max);
        MDB_val raw_key = val_of(begin);
        MDB_val raw_value;
        int code = mdb_cursor_get(cursor, &raw_key, &raw_value, begin.empty() ? MDB_FIRST : MDB_SET_RANGE);
        for (; code == MDB_SUCCESS; code = mdb_cursor_get(cursor, &raw_key, &raw_value, MDB_NEXT)) {
            if (view_of(raw_key).substr(0, begin.size()) != begin) return {};
            const Item item = TRY(decode_item(view_of(raw_key), view_of(raw_value)));
            if (item.key.substr(0, prefix.size()) != prefix) continue;
            if (!on_item(item.key, item.value)) return {};
        }
        return code == MDB_NOTFOUND ? Status() : Status(error_of(code, "scan"));
    }

    // In key order: neighbours share pages, which then are touched once.
    Status write_all(MDB_txn* txn, const std::vector<StateChange>& changes) {
        std::vector<std::size_t> order(changes.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(),
                         [&](std::size_t a, std::size_t b) { return changes[a].key < changes[b].key; });
        std::string bytes;
        for (const std::size_t i : order) {
            const StateChange& change = changes[i];
            const std::string raw = stored_key(change.key);
            MDB_val raw_key = val_of(raw);
            if (!change.value) {
                const int code = mdb_del(txn, dbi_, &raw_key, nullptr);
                if (code != MDB_SUCCESS && code != MDB_NOTFOUND) return error_of(code, "delete");
                continue;
            }
            encode_item(change.key, *change.value, bytes);
            MDB_val raw_value = val_of(bytes);
            const int code = mdb_put(txn, dbi_, &raw_key, &raw_value, 0);
            if (code != MDB_SUCCESS) return error_of(code, "put");
        }
        return {};
    }

    MDB_env* env_ = nullptr;
    MDB_dbi dbi_ = 0;
};

}  // namespace

Result<std::unique_ptr<StateStore>> open_lmdb(const std::string& dir, std::uint64_t map_bytes) {
    auto store = std::make_unique<LmdbStore>();
    TRY(store->open(dir, map_bytes));
    return std::unique_ptr<StateStore>(std::move(store));
}

}  // namespace weir::stream
