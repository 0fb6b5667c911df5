// Grammar:  path = '$' step*      step = '.' name | '.' '"' quoted '"' | '[' digits ']'
// An unquoted name is everything up to '.', '[', or the end; what other dialects give a meaning (wildcards, filters,
// white space) must be quoted, so that no such path is silently taken for a plain name.
#include "record/path.h"

#include "base/limits.h"

#include <string>
#include <utility>

namespace weir::record {
namespace {

class PathParser {
  public:
    explicit PathParser(std::string_view text) : text_(text) {}

    Result<std::vector<PathStep>> parse() {
        if (text_.empty() || text_[0] != '$') return fail("a path begins with '$'");
        at_ = 1;
        std::vector<PathStep> steps;
        while (at_ < text_.size()) {
            if (steps.size() == limits::path_steps_max)
                return fail("a path has at most " + std::to_string(limits::path_steps_max) + " steps");
            if (text_[at_] == '.')
                steps.push_back(TRY(member()));
            else if (text_[at_] == '[')
                steps.push_back(TRY(element()));
            else
                return fail("expected '.name', '.\"name\"' or '[n]'");
        }
        return steps;
    }

  private:
    Error fail(std::string what) const {
        return Error{Errc::invalid_argument, "JSON path, byte " + std::to_string(at_) + ": " + std::move(what), 0,
                     static_cast<std::int64_t>(at_)};
    }

    Result<PathStep> member() {
        ++at_;
        if (at_ < text_.size() && text_[at_] == '"') return quoted();
        const std::size_t begin = at_;
        for (; at_ < text_.size() && text_[at_] != '.' && text_[at_] != '['; ++at_) {
            const unsigned char c = static_cast<unsigned char>(text_[at_]);
            if (c <= ' ' || c == 0x7f || std::string_view("*?\"'`()]@,:\\").find(text_[at_]) != std::string_view::npos)
                return fail("this character must stand in double quotes: .\"name\"");
        }
        if (at_ == begin) return fail("expected a member name after '.'");
        return PathStep{std::string(text_.substr(begin, at_ - begin)), -1};
    }

    Result<PathStep> quoted() {
        const std::size_t open = at_++;
        std::string name;
        for (; at_ < text_.size(); ++at_) {
            if (text_[at_] == '"') {
                ++at_;
                return PathStep{std::move(name), -1};
            }
            if (text_[at_] == '\\') {
                ++at_;
                if (at_ == text_.size() || (text_[at_] != '"' && text_[at_] != '\\'))
                    return fail("in quotes only \\\" and \\\\ are escapes");
            }
            name.push_back(text_[at_]);
        }
        at_ = open;
        return fail("this quote is not closed");
    }

    Result<PathStep> element() {
        const std::size_t begin = ++at_;
        std::int64_t index = 0;
        for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
            index = index * 10 + (text_[at_] - '0');
            if (index > INT32_MAX) return fail("the array index is too large");
        }
        if (at_ == begin) return fail("expected a number from 0 in '[n]'");
        if (at_ - begin > 1 && text_[begin] == '0') {
            at_ = begin;
            return fail("an array index has no leading zero");
        }
        if (at_ == text_.size() || text_[at_] != ']') return fail("expected ']'");
        ++at_;
        return PathStep{"", static_cast<std::int32_t>(index)};
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace

Result<std::vector<PathStep>> parse_path(std::string_view text) {
    return PathParser(text).parse();
}

}  // namespace weir::record
