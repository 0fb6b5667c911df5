// Result<T>: a value, or an Error the caller must look at.
//
// Why not exceptions: most failures happen inside C callbacks (libuv, SQLite, LMDB), which nothing may unwind. Why not
// std::expected: g++ 12 has it only under C++23. Names follow std::expected, so that a later move is a replacement.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace weir {

// What the caller can do about it, not where it came from. Each door maps these outward in one switch without default.
enum class Errc : std::uint8_t {
    invalid_argument,  // the caller's fault; retrying cannot help
    not_found,         // no such stream, view, file, offset
    already_exists,    // the name is taken
    conflict,          // refused in the present state (something depends on it)
    too_large,         // over a ceiling of base/limits.h; split and retry
    overloaded,        // a bounded queue is full; nothing was accepted; retry later
    disk_full,         // no space left; nothing was accepted; retry when there is room
    not_leader,        // another node leads; nothing was accepted
    recovering,        // not everything committed before the start is applied yet; retry soon
    building,          // the view is being built; retry later
    timed_out,         // outcome UNKNOWN: never report it as failure, never retry it without dedup
    deadline,          // a read that changed nothing ran out of time
    unauthorised,      // no or a wrong key
    forbidden,         // the key's role, or the authoriser, does not allow it
    unsupported,       // understood, and not offered
    corrupt,           // a checksum or a format is wrong; needs an operator
    io,                // the kernel said no; see os_errno
    cancelled,         // the caller went away
    shutting_down,     // this node is leaving; nothing was accepted
};

// Stable lower-case name of a code, as logs and problem answers show it ("not_found").
constexpr const char* errc_name(Errc code) {
    switch (code) {
        case Errc::invalid_argument:
            return "invalid_argument";
        case Errc::not_found:
            return "not_found";
        case Errc::already_exists:
            return "already_exists";
        case Errc::conflict:
            return "conflict";
        case Errc::too_large:
            return "too_large";
        case Errc::overloaded:
            return "overloaded";
        case Errc::disk_full:
            return "disk_full";
        case Errc::not_leader:
            return "not_leader";
        case Errc::recovering:
            return "recovering";
        case Errc::building:
            return "building";
        case Errc::timed_out:
            return "outcome_unknown";
        case Errc::deadline:
            return "deadline";
        case Errc::unauthorised:
            return "unauthorised";
        case Errc::forbidden:
            return "forbidden";
        case Errc::unsupported:
            return "unsupported";
        case Errc::corrupt:
            return "corrupt";
        case Errc::io:
            return "io_error";
        case Errc::cancelled:
            return "cancelled";
        case Errc::shutting_down:
            return "shutting_down";
    }
    return "unknown";
}

struct [[nodiscard]] Error {
    Errc code = Errc::invalid_argument;
    std::string detail;          // for people: what was tried, on what, why it failed, what to do
    int os_errno = 0;            // errno, 0 where the kernel was not involved
    std::int64_t position = -1;  // byte offset in the text that was parsed (SQL), -1 where there is none
};

template <class T>
class [[nodiscard]] Result {
  public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: reads as `return value;`
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: reads as `return Error{...};`

    bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    // Precondition of value(): has_value(). Of error(): !has_value(). Broken: std::get throws, which ends the process.
    T& value() & { return std::get<0>(state_); }
    const T& value() const& { return std::get<0>(state_); }
    T&& value() && { return std::get<0>(std::move(state_)); }
    const Error& error() const& { return std::get<1>(state_); }
    Error&& error() && { return std::get<1>(std::move(state_)); }

  private:
    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
  public:
    Result() = default;
    Result(Error error) : error_(std::move(error)), ok_(false) {}  // NOLINT: reads as `return Error{...};`
    bool has_value() const noexcept { return ok_; }
    explicit operator bool() const noexcept { return ok_; }
    void value() const noexcept {}
    const Error& error() const& { return error_; }
    Error&& error() && { return std::move(error_); }

  private:
    Error error_;
    bool ok_ = true;
};

using Status = Result<void>;

}  // namespace weir

// auto value = TRY(parse(bytes));   yields the value, or returns the Error to our caller.
// TRY(file.sync());                 the same for a Status.
// The counter gives each use its own name, so that one TRY may stand inside another.
#define TRY(expression) WEIR_TRY_AS(expression, WEIR_TRY_JOIN(try_result_, __COUNTER__))
#define WEIR_TRY_JOIN(a, b) WEIR_TRY_JOIN2(a, b)
#define WEIR_TRY_JOIN2(a, b) a##b
#define WEIR_TRY_AS(expression, name)       \
    __extension__({                         \
        auto name = (expression);           \
        if (!name) [[unlikely]]             \
            return std::move(name).error(); \
        std::move(name).value();            \
    })
