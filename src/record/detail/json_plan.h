// What a decoder looks for, made once from a schema: the columns' paths as one tree whose member tables are looked up
// by key. Node 0 is "nothing wanted here", node 1 the whole event.
//
//   $ (1) -- event_id (2)
//         -- properties (3) -- status (4)
//                           -- [0] (5)
//
// Keys to look up must have 8 readable bytes: a key's first eight bytes are compared (and hashed) as one word.
#pragma once

#include "record/schema.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace weir::record::detail {

// The first min(size, 8) bytes of a key as one word, the rest zero.
inline std::uint64_t key_head(const char* key, std::size_t size) {
    std::uint64_t word;
    std::memcpy(&word, key, sizeof word);
    if (size >= 8) return word;
    const int unused_bits = static_cast<int>(8 - size) * 8;
    if constexpr (std::endian::native == std::endian::little)
        return size == 0 ? 0 : word << unused_bits >> unused_bits;
    else
        return size == 0 ? 0 : word >> unused_bits << unused_bits;
}

// A DEFAULT that is a literal, already of the column's type.
struct DefaultValue {
    bool present = false;
    std::int64_t number = 0;
    std::string text;
};

struct PlannedColumn {
    std::uint32_t node = 0;  // 0: not wanted
    int same_as = -1;        // an earlier column of the same place and type, whose value this one shares
    ColumnType type = ColumnType::text;
    DefaultValue fallback;
};

class Plan {
  public:
    Plan() = default;
    Plan(const Plan&) = delete;  // the tables point into the keys
    Plan& operator=(const Plan&) = delete;
    // `want` as in JsonDecoder::decode_stored. The event time's place is always in the tree.
    void build(const Schema& schema, const std::vector<bool>& want);
    // Whether build() with this schema (all wanted) would give the same plan: compares contents, about 100 ns.
    bool fits(const Schema& schema) const;

    std::size_t node_count() const { return nodes_.size(); }
    std::uint32_t places() const { return places_; }  // distinct nodes that a value is wanted of
    bool is_place(std::uint32_t node) const { return nodes_[node].place; }
    std::uint32_t event_time_node() const { return event_time_node_; }
    const PlannedColumn& column(std::size_t c) const { return columns_[c]; }

    // The node of member `key` below `node`, 0 when nothing is wanted there.
    std::uint32_t member(std::uint32_t node, const char* key, std::size_t size) const {
        const Node& parent = nodes_[node];
        const std::uint64_t head = key_head(key, size);
        for (std::uint32_t i = hash(head, size);; ++i) {
            const Member& m = members_[parent.table + (i & parent.mask)];
            if (m.node == 0) return 0;
            if (m.head == head && m.size == size && (size <= 8 || std::memcmp(key + 8, m.tail, size - 8) == 0))
                return m.node;
        }
    }
    std::uint32_t element(std::uint32_t node, std::int32_t index) const {
        const Node& parent = nodes_[node];
        for (std::uint32_t i = 0; i < parent.element_count; ++i)
            if (elements_[parent.elements + i].index == index) return elements_[parent.elements + i].node;
        return 0;
    }

  private:
    struct Node {
        std::uint32_t table = 0;  // into members_: an open-addressed table of mask + 1, at least half of it empty
        std::uint32_t mask = 0;
        std::uint32_t elements = 0;  // into elements_
        std::uint32_t element_count = 0;
        bool place = false;
    };
    struct Member {
        std::uint64_t head = 0;
        const char* tail = nullptr;  // bytes from the ninth on
        std::uint32_t size = 0;
        std::uint32_t node = 0;  // 0: an empty entry
    };
    struct Element {
        std::int32_t index = 0;
        std::uint32_t node = 0;
    };
    struct Source {  // what fits() compares
        ColumnType type;
        std::vector<PathStep> path;
        std::string default_sql;
    };
    struct Edge {
        std::uint32_t parent = 0;
        PathStep step;
    };

    static std::uint32_t hash(std::uint64_t head, std::size_t size) {
        return static_cast<std::uint32_t>((head + size) * 0x9E3779B97F4A7C15ull >> 40);
    }
    std::uint32_t place(const std::vector<PathStep>& path);
    void lay_out();

    std::vector<Node> nodes_;
    std::vector<Member> members_;
    std::vector<Element> elements_;
    std::vector<PlannedColumn> columns_;
    std::vector<Source> sources_;
    std::vector<Edge> edges_;  // edge i leads to node i; owns the keys' bytes
    std::uint32_t places_ = 0;
    std::uint32_t event_time_node_ = 0;
    int event_time_ = -1;
};

// The value of a DEFAULT that is a literal (number, 'text', TRUE, FALSE, x'hex'; signs and parentheses allowed) as a
// value of `type`; not present for NULL, for anything else, and for a literal that does not suit the type.
DefaultValue literal_default(ColumnType type, std::string_view sql);

}  // namespace weir::record::detail
