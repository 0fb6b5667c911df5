#include "node/raw_json.h"

namespace weir::node {
namespace {

Error broken() {
    return Error{Errc::invalid_argument, "broken JSON"};
}

struct Scanner {
    std::string_view text;
    std::size_t at = 0;

    void skip_space() {
        while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t'))
            ++at;
    }
    bool take(char c) {
        skip_space();
        if (at >= text.size() || text[at] != c) return false;
        ++at;
        return true;
    }
    // From the opening quote to behind the closing one.
    bool skip_string() {
        for (++at; at < text.size(); ++at) {
            if (text[at] == '\\') {
                ++at;
            } else if (text[at] == '"') {
                ++at;
                return true;
            }
        }
        return false;
    }
    bool skip_value(std::string_view& value) {
        skip_space();
        const std::size_t start = at;
        std::size_t depth = 0;
        while (at < text.size()) {
            const char c = text[at];
            if (c == '"') {
                if (!skip_string()) return false;
                if (depth == 0) break;
                continue;
            }
            if (c == '{' || c == '[') {
                ++depth;
            } else if (c == '}' || c == ']') {
                if (depth == 0) break;
                if (--depth == 0) {
                    ++at;
                    break;
                }
            } else if (depth == 0 && (c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t')) {
                break;
            }
            ++at;
        }
        value = text.substr(start, at - start);
        return depth == 0 && !value.empty();
    }
};

}  // namespace

Result<std::vector<RawMember>> raw_members(std::string_view text) {
    Scanner scan{text};
    std::vector<RawMember> members;
    if (!scan.take('{')) return broken();
    if (scan.take('}')) return members;
    do {
        scan.skip_space();
        const std::size_t start = scan.at;
        if (start >= text.size() || text[start] != '"' || !scan.skip_string()) return broken();
        RawMember member{text.substr(start + 1, scan.at - start - 2), {}};
        if (!scan.take(':') || !scan.skip_value(member.value)) return broken();
        members.push_back(member);
    } while (scan.take(','));
    if (!scan.take('}')) return broken();
    return members;
}

Result<std::vector<std::string_view>> raw_items(std::string_view text) {
    Scanner scan{text};
    std::vector<std::string_view> items;
    if (!scan.take('[')) return broken();
    if (scan.take(']')) return items;
    do {
        std::string_view item;
        if (!scan.skip_value(item)) return broken();
        items.push_back(item);
    } while (scan.take(','));
    if (!scan.take(']')) return broken();
    return items;
}

std::string_view raw_member(const std::vector<RawMember>& members, std::string_view key) {
    for (const RawMember& member : members) {
        if (member.key == key) return member.value;
    }
    return {};
}

}  // namespace weir::node
