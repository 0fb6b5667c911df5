#include "store/detail/lexer.h"

namespace weir::store::detail {

namespace {

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '$' ||
           static_cast<unsigned char>(c) >= 0x80;
}

// Symbols of two or three characters, longest first.
constexpr std::string_view long_symbols[] = {"->>", "->", "||", "<=", ">=", "<>", "!=", "==", "<<", ">>"};

}  // namespace

Token Lexer::next() {
    const auto rest = [&](std::size_t from) { return sql_.substr(from); };
    while (at_ < sql_.size()) {
        if (is_blank(sql_[at_])) {
            ++at_;
        } else if (rest(at_).substr(0, 2) == "--") {
            const std::size_t end = sql_.find('\n', at_);
            at_ = end == std::string_view::npos ? sql_.size() : end + 1;
        } else if (rest(at_).substr(0, 2) == "/*") {
            const std::size_t end = sql_.find("*/", at_ + 2);
            if (end == std::string_view::npos) {
                const Token broken{TokenKind::broken, rest(at_), at_};
                at_ = sql_.size();
                return broken;
            }
            at_ = end + 2;
        } else {
            break;
        }
    }
    const std::size_t begin = at_;
    const auto token = [&](TokenKind kind) { return Token{kind, sql_.substr(begin, at_ - begin), begin}; };
    if (at_ >= sql_.size()) return {TokenKind::end, {}, sql_.size()};
    const char c = sql_[at_];

    if (c == '\'' || c == '"' || c == '`' || c == '[') {
        const char close = c == '[' ? ']' : c;
        ++at_;
        while (at_ < sql_.size()) {
            if (sql_[at_] != close) {
                ++at_;
            } else if (c != '[' && at_ + 1 < sql_.size() && sql_[at_ + 1] == close) {
                at_ += 2;
            } else {
                ++at_;
                return token(c == '\'' ? TokenKind::string : TokenKind::quoted_name);
            }
        }
        return token(TokenKind::broken);
    }
    if (is_digit(c) || (c == '.' && at_ + 1 < sql_.size() && is_digit(sql_[at_ + 1]))) {
        while (at_ < sql_.size()) {
            const bool is_sign = (sql_[at_] == '+' || sql_[at_] == '-') &&
                                 (sql_[at_ - (at_ > begin)] == 'e' || sql_[at_ - (at_ > begin)] == 'E');
            if (!is_name_char(sql_[at_]) && sql_[at_] != '.' && !is_sign) break;
            ++at_;
        }
        return token(TokenKind::number);
    }
    if (is_name_char(c)) {
        while (at_ < sql_.size() && is_name_char(sql_[at_]))
            ++at_;
        return token(TokenKind::name);
    }
    for (const std::string_view symbol : long_symbols) {
        if (rest(at_).substr(0, symbol.size()) == symbol) {
            at_ += symbol.size();
            return token(TokenKind::symbol);
        }
    }
    ++at_;
    return token(TokenKind::symbol);
}

std::string unquote(const Token& token) {
    if (token.kind != TokenKind::quoted_name && token.kind != TokenKind::string) return std::string(token.text);
    const char close = token.text.front() == '[' ? ']' : token.text.front();
    std::string out;
    for (std::size_t i = 1; i + 1 < token.text.size(); ++i) {
        out.push_back(token.text[i]);
        if (token.text[i] == close) ++i;  // the second of a doubled quote
    }
    return out;
}

std::string lower_ascii(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
}

bool same_name(std::string_view a, std::string_view b) {
    return a.size() == b.size() && lower_ascii(a) == lower_ascii(b);
}

}  // namespace weir::store::detail
