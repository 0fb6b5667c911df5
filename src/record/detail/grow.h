// The output of a bounded decompressor: a string that grows by doubling up to a ceiling and keeps its tail initialised.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

namespace weir::record::detail {

class GrowingOutput {
  public:
    // `guess` is the first capacity; a ceiling of 0 is fine.
    GrowingOutput(std::size_t guess, std::size_t bytes_max) : bytes_max_(bytes_max) {
        buffer_.resize(std::min(std::max(guess, first_bytes), bytes_max) + padding_bytes);
    }
    // Where to write next; valid until the next call. Never empty before is_over(): at the ceiling it is one byte, so
    // that the decoder can show that there is more. May move what was written.
    std::span<char> space() {
        if (size_ + padding_bytes == buffer_.size() && size_ < bytes_max_)
            buffer_.resize(size_ + std::min(std::max(size_, first_bytes), bytes_max_ - size_) + padding_bytes);
        const std::size_t room = buffer_.size() - padding_bytes - size_;
        return {buffer_.data() + size_, std::max<std::size_t>(room, 1)};
    }
    void produced(std::size_t count) { size_ += count; }
    bool is_over() const { return size_ > bytes_max_; }
    // Precondition: !is_over().
    std::string take() && {
        buffer_.resize(size_ + padding_bytes);
        buffer_.resize(size_);  // keeps the capacity and the bytes in it
        return std::move(buffer_);
    }

  private:
    static constexpr std::size_t padding_bytes = 64;
    static constexpr std::size_t first_bytes = 4096;
    std::string buffer_;
    std::size_t size_ = 0;
    std::size_t bytes_max_;
};

}  // namespace weir::record::detail
