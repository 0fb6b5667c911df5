// Any bytes as a record batch. The CRC is made right, so that coverage goes on behind it; a valid batch must also be
// walked to its end and give the same records when built again.
#include "base/crc32c.h"
#include "record/batch.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

using namespace weir;
using namespace weir::record;

namespace {

constexpr std::size_t inflated_bytes_max = 1 << 20;

void require(bool claim) {
    if (!claim) std::abort();
}

// Walks as far as it goes; true: to the end.
bool walk(const BatchView& batch, BatchBuilder* copy) {
    auto opened = RecordIterator::open(batch, inflated_bytes_max);
    if (!opened) return false;
    RecordIterator it = std::move(opened).value();
    Record r;
    while (true) {
        auto more = it.next(r);
        if (!more) return false;
        if (!more.value()) return true;
        auto headers = read_headers(r.headers);
        if (copy == nullptr) continue;
        require(headers.has_value());
        copy->add(r.timestamp_ms, r.has_key ? std::optional<std::string_view>(r.key) : std::nullopt, r.value,
                  headers.value());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    std::string input(reinterpret_cast<const char*>(bytes), size);
    if (size >= batch_header_bytes) {
        // Length and magic right most of the time: the fuzzer should work on what is behind them.
        const bool keep_length = (bytes[16] & 0x80) != 0;
        if (!keep_length) {
            const be32 length = static_cast<std::int32_t>(size - 12);
            std::memcpy(input.data() + offsetof(BatchHeader, batch_length), &length, sizeof length);
        }
        input[offsetof(BatchHeader, magic)] = 2;
        const beu32 crc = crc32c(0, std::string_view(input).substr(offsetof(BatchHeader, attributes)));
        std::memcpy(input.data() + offsetof(BatchHeader, crc), &crc, sizeof crc);
    }
    auto view = read_batch(input);
    if (!view) return 0;
    (void)walk(view.value(), nullptr);
    if (!validate(view.value(), inflated_bytes_max)) return 0;
    BatchBuilder copy;
    copy.reset();
    require(walk(view.value(), &copy));
    const std::string_view rebuilt = copy.finish(view.value().header.base_offset, 0);
    auto again = read_batch(rebuilt);
    require(again.has_value());
    require(validate(again.value(), rebuilt.size()).has_value());
    require(again.value().header.count == view.value().header.count);
    return 0;
}
