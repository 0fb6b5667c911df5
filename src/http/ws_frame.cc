#include "http/detail/ws_frame.h"

#include "base/check.h"
#include "record/json.h"

#include <algorithm>
#include <utility>

namespace weir::http {
namespace {

constexpr std::size_t control_bytes_max = 125;
constexpr std::size_t key_bytes = 4;

bool is_control(WsOpcode opcode) {
    return static_cast<std::uint8_t>(opcode) >= 8;
}

bool is_known(std::uint8_t opcode) {
    return opcode <= 2 || (opcode >= 8 && opcode <= 10);
}

// Codes that may stand in a Close frame (7.4).
bool may_be_sent(unsigned code) {
    const bool defined = code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
    return defined || (code >= 3000 && code <= 4999);
}

std::optional<WsClose> check_close(std::string_view payload) {
    if (payload.empty()) return std::nullopt;
    if (payload.size() == 1) return WsClose::protocol_error;
    const unsigned code = static_cast<unsigned>(static_cast<unsigned char>(payload[0])) << 8 |
                          static_cast<unsigned>(static_cast<unsigned char>(payload[1]));
    if (!may_be_sent(code)) return WsClose::protocol_error;
    if (!record::is_utf8(payload.substr(2))) return WsClose::bad_text;
    return std::nullopt;
}

}  // namespace

std::size_t WsDecoder::head_bytes() const {
    if (head_have_ < 2) return 2;
    const unsigned length = head_[1] & 0x7fu;
    const std::size_t more = length == 126 ? 2 : length == 127 ? 8 : 0;
    return 2 + more + key_bytes;
}

WsDecoder::Put WsDecoder::put(std::string_view bytes) {
    Put out;
    while (true) {
        if (step_ == Step::head) {
            while (head_have_ < head_bytes() && out.consumed < bytes.size()) {
                head_[head_have_++] = static_cast<unsigned char>(bytes[out.consumed++]);
                // The first two bytes alone may show that the rest is not worth waiting for.
                if (head_have_ == 2 && (head_[1] & 0x80u) == 0) {
                    out.failure = WsClose::protocol_error;
                    return out;
                }
            }
            if (head_have_ < head_bytes()) return out;
            if ((out.failure = on_head())) return out;
            step_ = Step::payload;
        }
        std::string& to = is_control(opcode_) ? control_ : message_;
        const unsigned char* key = head_.data() + head_have_ - key_bytes;
        const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size() - out.consumed));
        const std::size_t begin = to.size();
        to.append(bytes.substr(out.consumed, n));
        for (std::size_t i = 0; i < n; ++i)
            to[begin + i] =
                static_cast<char>(static_cast<unsigned char>(to[begin + i]) ^ key[(mask_at_ + i) % key_bytes]);
        mask_at_ = (mask_at_ + n) % key_bytes;
        out.consumed += n;
        left_ -= n;
        if (left_ > 0) return out;
        step_ = Step::head;
        head_have_ = 0;
        out.failure = on_frame(out);
        if (out.failure || out.message) return out;
    }
}

std::optional<WsClose> WsDecoder::on_head() {
    fin_ = (head_[0] & 0x80u) != 0;
    const bool reserved = (head_[0] & 0x70u) != 0;
    const auto opcode = static_cast<std::uint8_t>(head_[0] & 0x0fu);
    if (reserved || !is_known(opcode)) return WsClose::protocol_error;
    opcode_ = static_cast<WsOpcode>(opcode);
    const unsigned short_length = head_[1] & 0x7fu;
    left_ = short_length;
    if (short_length >= 126) {
        left_ = 0;
        for (std::size_t i = 2; i < head_have_ - key_bytes; ++i)
            left_ = left_ << 8 | head_[i];
        const bool padded = short_length == 126 ? left_ < 126 : left_ <= 0xffff;
        if (padded || left_ > INT64_MAX) return WsClose::protocol_error;
    }
    mask_at_ = 0;
    if (is_control(opcode_)) {
        if (!fin_ || left_ > control_bytes_max) return WsClose::protocol_error;
        control_.clear();
        return std::nullopt;
    }
    // A message begins where none is open and goes on where one is.
    if ((opcode_ == WsOpcode::continuation) != of_.has_value()) return WsClose::protocol_error;
    if (!of_) of_ = opcode_;
    if (left_ > message_bytes_max_ - message_.size()) return WsClose::too_big;
    return std::nullopt;
}

std::optional<WsClose> WsDecoder::on_frame(Put& put) {
    if (is_control(opcode_)) {
        if (opcode_ == WsOpcode::close)
            if (const auto failure = check_close(control_)) return failure;
        put.message = WsMessage{opcode_, std::exchange(control_, {})};
        return std::nullopt;
    }
    if (!fin_) return std::nullopt;
    CHECK(of_.has_value());
    if (*of_ == WsOpcode::text && !record::is_utf8(message_)) return WsClose::bad_text;
    put.message = WsMessage{*of_, std::exchange(message_, {})};
    of_.reset();
    return std::nullopt;
}

void append_ws_frame(std::string& out, WsOpcode opcode, std::string_view payload) {
    CHECK(!is_control(opcode) || payload.size() <= control_bytes_max);
    out.push_back(static_cast<char>(0x80u | static_cast<unsigned>(opcode)));
    const std::uint64_t size = payload.size();
    const auto put_length = [&out, size](int bytes) {
        for (int i = bytes - 1; i >= 0; --i)
            out.push_back(static_cast<char>(size >> (8 * i) & 0xffu));
    };
    if (size < 126) {
        put_length(1);
    } else if (size <= 0xffff) {
        out.push_back(126);
        put_length(2);
    } else {
        out.push_back(127);
        put_length(8);
    }
    out += payload;
}

std::string ws_close_payload(WsClose code, std::string_view reason) {
    const auto number = static_cast<unsigned>(code);
    std::string out{static_cast<char>(number >> 8), static_cast<char>(number & 0xffu)};
    out += reason.substr(0, control_bytes_max - 2);
    CHECK(record::is_utf8(reason));
    return out;
}

}  // namespace weir::http
