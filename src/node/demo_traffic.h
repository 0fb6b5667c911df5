// What visitors of a web shop send, made from a seed: requests and orders, some of them twice, late or broken.
//
// Line n follows from the seed and n, save the time, which the caller gives: the same seed tells the same story at any
// speed. A shop that was left comes back where it was when it is given the number of lines that it has sent.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::node {

// How often things go wrong, of 1,000 lines each.
constexpr std::uint64_t demo_duplicates_permille = 20;
constexpr std::uint64_t demo_bad_permille = 5;
constexpr std::uint64_t demo_late_permille = 5;

// Lines of NDJSON for the two streams.
struct DemoLines {
    std::string requests;
    std::string orders;
    std::int64_t request_count = 0;
    std::int64_t order_count = 0;
};

class DemoTraffic {
  public:
    // `first`: number of the first line.
    DemoTraffic(std::uint64_t seed, std::uint64_t first);
    // Appends one request, and the order that some requests are. `now_ms`: epoch ms of the visit; a late one tells of a
    // visit ten minutes or more before.
    void append(std::int64_t now_ms, DemoLines& lines);
    std::uint64_t next() const { return next_; }

  private:
    static constexpr std::size_t kept_lines = 256;  // a duplicate repeats one of so many lines before it
    std::uint64_t seed_;
    std::uint64_t next_;
    std::array<std::string, kept_lines> kept_;  // good lines, by number modulo kept_lines
};

// Streams requests and orders and three views over them; each statement does nothing where its thing is there already.
std::vector<std::string> demo_statements();
// The streams that those make.
constexpr std::array<std::string_view, 2> demo_streams{"requests", "orders"};

}  // namespace weir::node
