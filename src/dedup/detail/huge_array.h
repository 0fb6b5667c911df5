// A zeroed array of plain values for tables and filters: on huge pages where it is large (a look-up then costs one
// cache miss and no page walk), and really given back to the system when it dies. Private to dedup/.
#pragma once

#include "base/check.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <type_traits>
#include <utility>

namespace weir::dedup::detail {

template <class T>
class HugeArray {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    HugeArray() = default;
    explicit HugeArray(std::size_t count) : count_(count) {
        if (count == 0) return;
        CHECK(count <= SIZE_MAX / sizeof(T) / 2);
        if (bytes() >= mapped_bytes_min) {
            values_ = static_cast<T*>(map());
            return;
        }
        values_ = static_cast<T*>(std::aligned_alloc(64, bytes()));
        CHECK(values_ != nullptr);
        std::memset(static_cast<void*>(values_), 0, bytes());
    }
    HugeArray(HugeArray&& other) noexcept
        : values_(std::exchange(other.values_, nullptr)), count_(std::exchange(other.count_, 0)) {}
    HugeArray& operator=(HugeArray&& other) noexcept {
        std::swap(values_, other.values_);
        std::swap(count_, other.count_);
        return *this;
    }
    HugeArray(const HugeArray&) = delete;
    HugeArray& operator=(const HugeArray&) = delete;
    ~HugeArray() {
        if (values_ == nullptr) return;
        if (bytes() >= mapped_bytes_min)
            munmap(static_cast<void*>(values_), mapped_bytes());
        else
            std::free(values_);
    }

    T* data() const { return values_; }
    T& operator[](std::size_t i) const { return values_[i]; }
    std::size_t size() const { return count_; }
    std::size_t bytes() const { return rounded(count_ * sizeof(T), 64); }
    // What an array of `count` values takes of memory.
    static std::size_t memory_bytes(std::size_t count) {
        const std::size_t bytes = rounded(count * sizeof(T), 64);
        return bytes < mapped_bytes_min ? bytes : rounded(bytes, unit_bytes(bytes));
    }

  private:
    static constexpr std::size_t mapped_bytes_min = std::size_t{128} * 1024;
    static constexpr std::size_t page_bytes = 4096;
    static constexpr std::size_t huge_page_bytes = std::size_t{2} * 1024 * 1024;

    static std::size_t rounded(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }
    static std::size_t unit_bytes(std::size_t bytes) {
        return bytes >= huge_page_bytes / 2 ? huge_page_bytes : page_bytes;
    }
    bool is_huge() const { return unit_bytes(bytes()) == huge_page_bytes; }
    std::size_t mapped_bytes() const { return memory_bytes(count_); }
    void* map() const {
        // The kernel gives a huge page only to a range that holds an aligned one: map more, and give the ends back.
        const std::size_t slack = is_huge() ? huge_page_bytes : 0;
        void* mapped =
            mmap(nullptr, mapped_bytes() + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(mapped != MAP_FAILED);  // out of memory ends the process
        if (slack == 0) return mapped;
        char* const begin = static_cast<char*>(mapped);
        const std::size_t past = reinterpret_cast<std::uintptr_t>(begin) % huge_page_bytes;
        const std::size_t front = past == 0 ? 0 : huge_page_bytes - past;
        if (front > 0) munmap(begin, front);
        if (slack > front) munmap(begin + front + mapped_bytes(), slack - front);
        madvise(begin + front, mapped_bytes(), MADV_HUGEPAGE);
        return begin + front;
    }

    T* values_ = nullptr;
    std::size_t count_ = 0;
};

}  // namespace weir::dedup::detail
