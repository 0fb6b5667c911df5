#include "http/detail/parser.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstring>
#include <vector>

using namespace weir::http;

namespace {

struct Read {
    int failed = 0;                     // status
    std::vector<std::string> requests;  // "METHOD target body"
    std::size_t left = 0;               // bytes not consumed
};

// Reads `bytes` in pieces of `cut`, bodies in place where the parser offers a place.
Read read(std::string_view bytes, std::size_t cut) {
    Read out;
    RequestParser parser;
    std::string waiting;
    while (!bytes.empty() || !waiting.empty()) {
        RequestParser::Put put;
        bool offered_new = false;
        const std::span<char> space = waiting.empty() ? parser.body_space() : std::span<char>();
        if (!space.empty() && !bytes.empty()) {
            const std::size_t n = std::min({cut, bytes.size(), space.size()});
            std::memcpy(space.data(), bytes.data(), n);
            bytes.remove_prefix(n);
            put = parser.put({space.data(), n});
            if (put.consumed < n && put.step != ParseStep::failed) out.failed = -1;
        } else {
            const std::size_t n = std::min(cut, bytes.size());
            waiting.append(bytes.substr(0, n));
            bytes.remove_prefix(n);
            offered_new = n > 0;
            put = parser.put(waiting);
            waiting.erase(0, put.consumed);
        }
        if (put.step == ParseStep::failed) {
            out.failed = parser.failure().status;
            break;
        }
        if (put.step == ParseStep::done || (put.step == ParseStep::head && parser.complete())) {
            std::string text(parser.head().method);
            text += ' ';
            text += parser.head().target;
            text += ' ';
            const std::string body = parser.take_body();
            if (body.capacity() < body.size() + 64) out.failed = -2;
            out.requests.push_back(text + body);
            parser.reset();
        } else if (put.step == ParseStep::need_more && !offered_new && bytes.empty()) {
            break;
        }
    }
    out.left = waiting.size();
    return out;
}

}  // namespace

TEST_CASE("Requests read the same in any cuts") {
    const std::string big(200'000, 'x');
    const std::string bytes =
        "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
        "\r\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
        "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
        "Chunked\r\n\r\n3\r\nabc\r\n10;ext=\"v\"\r\n0123456789abcdef\r\n0\r\n\r\n"
        "POST /d HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" +
        big + "POST /e HTTP/1.0\r\nContent-Length: 0\r\n\r\n";
    for (const std::size_t cut : {1u, 2u, 3u, 7u, 64u, 1000u, 70'000u, 10'000'000u}) {
        const Read r = read(bytes, cut);
        INFO(cut);
        CHECK(r.failed == 0);
        CHECK(r.left == 0);
        REQUIRE(r.requests.size() == 5);
        CHECK(r.requests[0] == "GET /a?b=c ");
        CHECK(r.requests[1] == "POST /b hello");
        CHECK(r.requests[2] == "POST /c abc0123456789abcdef");
        CHECK(r.requests[3] == "POST /d " + big);
        CHECK(r.requests[4] == "POST /e ");
    }
}

TEST_CASE("Whatever two readers could read differently is refused") {
    const std::string post = "POST /x HTTP/1.1\r\nHost: x\r\n";
    auto f = [&](const std::string& bytes, int want) {
        for (const std::size_t cut : {1u, 5u, 100'000u}) {
            INFO(bytes.substr(0, 200) << " cut " << cut);
            CHECK(read(bytes, cut).failed == want);
        }
    };
    f(post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    f(post + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", 400);
    f(post + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    f(post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400);
    f(post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400);
    f(post + "Content-Length: 3, 3\r\n\r\nabc", 400);
    f(post + "Content-Length: +5\r\n\r\nhello", 400);
    f(post + "Content-Length: -1\r\n\r\n", 400);
    f(post + "Content-Length: 0x5\r\n\r\nhello", 400);
    f(post + "Content-Length: 99999999999999999999\r\n\r\n", 400);
    f(post + "Content-Length:\r\n\r\n", 400);
    f(post + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400);
    f(post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400);
    f(post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400);
    f(post + "Transfer-Encoding: identity\r\n\r\n", 400);
    f(post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    f(post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400);
    f(post + "\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    f(post + "X: a\rTransfer-Encoding: chunked\r\n\r\n", 400);
    f(post + "X: a\r\n folded\r\n\r\n", 400);
    f(post + "X: a\r\n\tfolded\r\n\r\n", 400);
    f(post + " X: a\r\n\r\n", 400);
    f("POST /x HTTP/1.1\nHost: x\n\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    f("POST /x HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400);
    f(post + std::string("X: a\0b\r\n\r\n", 10), 400);
    f(post + "X y: a\r\n\r\n", 400);
    f(post + ": a\r\n\r\n", 400);
    f("POST /x HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    f("GET /x HTTP/1.1\r\n\r\n", 400);
    f("GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400);
    f("GET  /x HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    f("GET /x y HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    f("GET /x\r\n\r\n", 400);
    f("GET /x HTTP/2.0\r\nHost: a\r\n\r\n", 400);
    f("\x16\x03\x01\x02\r\n\r\n", 400);
    const std::string chunked = post + "Transfer-Encoding: chunked\r\n\r\n";
    f(chunked + "-2\r\nab\r\n0\r\n\r\n", 400);
    f(chunked + "0x10\r\n0123456789abcdef\r\n0\r\n\r\n", 400);
    f(chunked + "00000000000000001\r\na\r\n0\r\n\r\n", 0);  // leading zeros are one number
    f(chunked + "11111111111111111\r\na\r\n0\r\n\r\n", 400);
    f(chunked + "g\r\n0\r\n\r\n", 400);
    f(chunked + "\r\n0\r\n\r\n", 400);
    f(chunked + "2\r\nabX\r\n0\r\n\r\n", 400);
    f(chunked + "2\r\nab\n0\r\n\r\n", 400);
    f(chunked + "0\r\nX-Trailer: a\r\n\r\n", 400);
    f(chunked + "0\r\nContent-Length: 5\r\n\r\nhello", 400);
    f(chunked + "1;" + std::string(1'000'000, 'e') + "\r\na\r\n0\r\n\r\n", 400);
}

TEST_CASE("Heads have limits") {
    auto f = [](const std::string& bytes, int want) {
        for (const std::size_t cut : {999u, 10'000'000u})
            CHECK(read(bytes, cut).failed == want);
    };
    const std::string get = "GET / HTTP/1.1\r\nHost: x\r\n";
    f(get + "X: " + std::string(60'000, 'a') + "\r\n\r\n", 0);
    f(get + "X: " + std::string(70'000, 'a') + "\r\n\r\n", 431);
    f(get + "X: " + std::string(300'000'000 / 100, 'a'), 431);
    f("GET /" + std::string(8191, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", 0);
    f("GET /" + std::string(8192, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", 414);
    f("GET /" + std::string(1'000'000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", 431);
    std::string fields;
    for (int i = 0; i < 99; ++i)
        fields += "A: b\r\n";
    f(get + fields + "\r\n", 0);
    f(get + fields + "A: b\r\n\r\n", 431);
    f(std::string(100'000, 'A'), 431);
}

TEST_CASE("An absolute target brings its own host") {
    RequestParser parser;
    const auto put = parser.put("GET http://h:1/p?q HTTP/1.1\r\nHost: other\r\n\r\n");
    CHECK(put.step == ParseStep::head);
    CHECK(parser.head().host == "h:1");
    CHECK(parser.head().target == "/p?q");
    CHECK(read("GET http://h HTTP/1.1\r\nHost: x\r\n\r\n", 100).failed == 400);
}

TEST_CASE("A body over its limit fails, discarded or not") {
    const std::string chunks = "8\r\n01234567\r\n8\r\n01234567\r\n0\r\n\r\n";
    for (const bool discard : {false, true}) {
        RequestParser parser;
        parser.put("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        parser.limit_body(15);
        if (discard) parser.discard_body();
        CHECK(parser.put(chunks).step == ParseStep::failed);
        CHECK(parser.failure().status == 413);
    }
    RequestParser parser;
    parser.put("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    parser.limit_body(16);
    parser.discard_body();
    CHECK(parser.put(chunks).step == ParseStep::done);
    CHECK(parser.body_bytes() == 16);
    CHECK(parser.take_body().empty());
}

TEST_CASE("A declared length reserves little until it comes") {
    RequestParser parser;
    parser.put("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n");
    CHECK(parser.body_space().size() == 64 * 1024);
    CHECK(parser.body_memory() < 140'000);
}
