// An entry's bytes in pieces, as admission hands it on, without columns: apply decodes from the batches.
#pragma once

#include "log/committed.h"
#include "log/entry.h"

#include <memory>
#include <string>
#include <utility>
#include <variant>

namespace weir::test {

// `bytes` must decode; it must outlive nothing: the buffer owns its pieces.
inline std::shared_ptr<log::EntryBuffer> buffer_of(const std::string& bytes) {
    const auto decoded = log::decode_entry(bytes);
    if (!decoded) return nullptr;
    auto buffer = std::make_shared<log::EntryBuffer>();
    buffer->append_time_ms = decoded.value().append_time_ms;
    for (const auto& section : decoded.value().sections) {
        log::EntryBuffer::Part part;
        part.head = static_cast<std::uint32_t>(buffer->owned.size());
        if (const auto* batch = std::get_if<log::BatchSection>(&section)) {
            part.is_batch = true;
            buffer->owned.push_back(log::encode_batch_head(*batch));
            part.batch = static_cast<std::uint32_t>(buffer->owned.size());
            buffer->owned.emplace_back(batch->batch);
        } else {
            buffer->owned.push_back(log::encode_section(section));
        }
        buffer->parts.push_back(std::move(part));
    }
    return buffer;
}

}  // namespace weir::test
