// Any bytes as write-ahead log files: opening answers, whatever they say, and a log that opens can be written to,
// closed and opened again.
//
// First byte: bit 0 = the sums in the input are put right first, so that the reader gets past them; bit 1 = the input
// is laid over a log that was written properly; bits 2-3 = how many files the rest is cut into.
#include "log/wal.h"

#include "log/detail/wal_format.h"
#include "os/sim_disk.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

using namespace weir;

namespace {

constexpr log::WalOptions options{.file_bytes = 32 << 10, .wal_bytes = 64 << 10};

void require(bool claim) {
    if (!claim) std::abort();
}

bool write(log::Wal& wal, std::uint16_t shard, std::uint64_t index, std::string_view payload) {
    std::vector<log::WalPlace> places;
    return wal.append({{ShardId(shard), LogIndex(index), Term(1), 1, {payload}}}, places).has_value();
}

// Makes the header and the chain of records behind it check, as far as their lengths lead.
void repair(std::string& bytes) {
    using namespace log::detail;
    if (bytes.size() < records_at) return;
    FileHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    std::memcpy(header.magic, file_magic.data(), file_magic.size());
    header.version = format_version;
    header.file_bytes = bytes.size();
    header.sequence = header.sequence % 4 + 1;
    header.previous_sequence = header.previous_sequence % header.sequence;
    header.oldest_sequence = header.oldest_sequence % header.sequence + 1;
    header.start_count = header.start_count % 3;
    header.crc = header_crc(header);
    std::memcpy(bytes.data(), &header, sizeof header);
    std::memcpy(bytes.data() + second_header_at, &header, sizeof header);
    std::uint32_t crc = chain_seed(header);
    std::size_t at = records_at;
    while (at + sizeof(RecordHeader) <= bytes.size()) {
        RecordHeader record;
        std::memcpy(&record, bytes.data() + at, sizeof record);
        if (record.length > bytes.size() - at - sizeof record) return;
        record.type = static_cast<std::uint8_t>(record.type % 5);
        if (static_cast<RecordType>(record.type) == RecordType::mark && record.length == sizeof(MarkPayload)) {
            MarkPayload mark;
            char* payload = bytes.data() + at + sizeof record;
            std::memcpy(&mark, payload, sizeof mark);
            std::memcpy(mark.magic, mark_magic.data(), mark_magic.size());
            mark.check = mark_check(mark_key(header), mark, at);
            std::memcpy(payload, &mark, sizeof mark);
        }
        crc = crc32c(record_crc(crc, record), std::string_view(bytes).substr(at + sizeof record, record.length));
        record.crc = crc;
        std::memcpy(bytes.data() + at, &record, sizeof record);
        at += sizeof record + record.length;
    }
}

void put_file(os::Disk& disk, const std::string& path, std::string_view bytes) {
    auto file = disk.open(path, os::OpenMode::create);
    require(file.has_value());
    const std::string_view pieces[] = {bytes};
    require(file.value()->write_at(0, pieces).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 3 || size > 200'000) return 0;
    const std::uint8_t mode = data[0];
    std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
    os::SimDisk disk(1, {});
    require(disk.make_dirs("wal").has_value());
    if (mode & 2) {
        auto wal = log::Wal::open(disk, "wal", options);
        require(wal.has_value());
        log::ShardStart start;
        start.incarnation = 1;
        require(wal.value()->append_start(ShardId(0), start).has_value());
        for (std::uint64_t i = 1; i <= 20; i++)
            require(write(*wal.value(), 0, i, std::string(3000, 'x')));
        wal.value().reset();
        // {file, position, length, bytes}...
        while (rest.size() > 4) {
            const std::string path = "wal/" + std::to_string(static_cast<unsigned char>(rest[0]) % 3) + ".wal";
            const std::size_t position =
                (static_cast<unsigned char>(rest[1]) * 256u + static_cast<unsigned char>(rest[2])) % (32u << 10);
            const std::size_t length = static_cast<unsigned char>(rest[3]) % 64u;
            auto file = disk.open(path, os::OpenMode::write);
            require(file.has_value());
            const std::string_view pieces[] = {rest.substr(4, length)};
            require(file.value()->write_at(position, pieces).has_value());
            rest.remove_prefix(std::min<std::size_t>(rest.size(), 4 + length));
        }
    } else {
        const std::size_t files = (mode >> 2 & 3u) + 1u;
        for (std::size_t i = 0; i < files; i++) {
            std::string bytes(rest.substr(rest.size() / files * i, rest.size() / files));
            if (mode & 1) {
                // Headers at their places, records behind them.
                bytes.insert(std::min<std::size_t>(bytes.size(), sizeof(log::detail::FileHeader)),
                             log::detail::records_at, '\0');
                bytes.erase(
                    sizeof(log::detail::FileHeader) < bytes.size() ? sizeof(log::detail::FileHeader) : bytes.size(),
                    sizeof(log::detail::FileHeader));
                repair(bytes);
            }
            put_file(disk, "wal/" + std::to_string(i) + ".wal", bytes);
        }
    }
    auto wal = log::Wal::open(disk, "wal", options);
    if (!wal) return 0;
    std::string found;
    for (const auto& [shard, state] : wal.value()->recovered()) {
        std::uint64_t before = state.start.checkpoint_index.value;
        for (const auto& entry : state.entries) {
            require(entry.index.value == ++before);
            require(log::read_entry(disk, "wal", entry.place).has_value());
        }
        found += std::to_string(shard.value) + ":" + std::to_string(before) + " ";
    }
    wal.value().reset();
    auto again = log::Wal::open(disk, "wal", options);
    require(again.has_value());
    std::string now;
    for (const auto& [shard, state] : again.value()->recovered()) {
        now += std::to_string(shard.value) + ":" +
               std::to_string(state.entries.empty() ? state.start.checkpoint_index.value
                                                    : state.entries.back().index.value) +
               " ";
    }
    require(found == now);
    log::ShardStart start;
    start.incarnation = UINT64_MAX;
    require(again.value()->append_start(ShardId(0), start).has_value());
    require(write(*again.value(), 0, 1, "goes on"));
    require(again.value()->sync().has_value());
    return 0;
}
