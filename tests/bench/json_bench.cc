// Nanoseconds an event of the JSON decoder, whole and by part. Not a test: run by hand on a quiet machine.
//
//   json_bench [EVENTS.ndjson]     without a file: synthetic access-log events of about 260 bytes
//
// Prints the best of several rounds over a body of about 8 MB: what the machine can do, not what else it did.
#include "base/prng.h"
#include "record/json.h"
#include "record/path.h"

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

namespace {

using namespace weir;
using namespace weir::record;

constexpr std::size_t body_bytes = 8u << 20;
constexpr int rounds = 15;

Column column(const char* name, ColumnType type, std::string path) {
    Column c;
    c.name = name;
    c.type = type;
    c.path_text = path.empty() ? std::string("$.") + name : path;
    c.path = parse_path(c.path_text).value();
    return c;
}

Schema access_schema() {
    Schema s;
    s.columns = {column("event_id", ColumnType::text, ""),
                 column("event_type", ColumnType::text, ""),
                 column("user_id", ColumnType::text, ""),
                 column("method", ColumnType::text, "$.properties.method"),
                 column("path", ColumnType::text, "$.properties.path"),
                 column("status", ColumnType::integer, "$.properties.status"),
                 column("bytes", ColumnType::integer, "$.properties.bytes"),
                 column("ts", ColumnType::timestamp, "$.timestamp")};
    s.columns[5].not_null = true;
    s.event_time = 7;
    s.dedup_key = {0};
    s.partition_by = 2;
    return s;
}

std::string synthetic() {
    Prng random(1);
    std::string out;
    char line[512];
    const char* paths[] = {"/favicon.ico",          "/",          "/blog/tags/puppet",
                           "/images/jordan-80.png", "/reset.css", "/style2.css"};
    while (out.size() < body_bytes) {
        const std::uint64_t r = random.next();
        const auto pick = [r](int shift, unsigned of) { return static_cast<unsigned>(r >> shift) % of; };
        std::snprintf(
            line, sizeof line,
            "{\"event_id\":\"%016llx%08x\",\"event_type\":\"http_access\",\"timestamp\":\"2015-05-17T%02u:%02u:%02u.%"
            "03uZ\","
            "\"user_id\":\"%u.%u.%u.%u\",\"properties\":{\"method\":\"GET\",\"path\":\"%s\",\"status\":%d,\"bytes\":%u,"
            "\"referrer\":%s,\"agent\":\"Mozilla/5.0\"}}\n",
            static_cast<unsigned long long>(random.next()), pick(0, 1u << 30), pick(1, 24), pick(2, 60), pick(3, 60),
            pick(4, 1000), pick(5, 255), pick(13, 255), pick(21, 255), pick(29, 255), paths[pick(7, 6)],
            pick(9, 10) == 0 ? 404 : 200, pick(11, 200'000), pick(17, 2) == 0 ? "null" : "\"http://example.com/\"");
        out += line;
    }
    return out;
}

template <class Act>
double best_ns(Act act) {
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < rounds; ++i) {
        const std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
        act();
        const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
        best = took.count() < best ? took.count() : best;
    }
    return best;
}

}  // namespace

int main(int argc, char** argv) {
    std::string body = synthetic();
    if (argc > 1) {
        std::ifstream file(argv[1], std::ios::binary);
        const std::string once((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
        if (once.empty()) return 1;
        for (body = once; body.size() < body_bytes;)
            body += once;
    }
    const std::size_t size = body.size();
    body.append(JsonDecoder::padding_bytes, '\0');
    const std::string_view events(body.data(), size);

    const Schema schema = access_schema();
    JsonDecoder decoder;
    DecodedEvents out;
    const double request =
        best_ns([&] { decoder.decode(schema, BodyShape::ndjson, events, 2'000'000'000'000, {}, nullptr, out); });
    const double count = static_cast<double>(out.lines);
    std::printf("events %u, good %zu, rejected %zu, %.0f bytes an event\n", out.lines, out.columns.rows,
                out.rejected.size(), static_cast<double>(size) / count);
    std::printf("decode, one body        %6.1f ns an event, %6.0f MB/s\n", request / count,
                static_cast<double>(size) / request * 1e3);

    const auto stored = [&](const std::vector<bool>& want) {
        ColumnBatch batch;
        return best_ns([&] {
            batch.reset(schema);
            for (const Slice& raw : out.raw)
                decoder.decode_stored(schema, events.substr(raw.offset, raw.size), 0, want, batch);
        });
    };
    const double good = static_cast<double>(out.columns.rows);
    std::printf("decode_stored, all      %6.1f ns an event\n", stored({}) / good);
    std::vector<bool> some(schema.columns.size());
    some[5] = some[6] = true;
    std::printf("decode_stored, 2 and ts %6.1f ns an event\n", stored(some) / good);

    DecodedEvents single;
    const double one = best_ns([&] {
        for (std::size_t i = 0; i < out.raw.size(); ++i)
            decoder.decode(schema, BodyShape::ndjson, events.substr(out.raw[i].offset, out.raw[i].size),
                           2'000'000'000'000, {}, nullptr, single);
    });
    std::printf("decode, one event each  %6.1f ns an event\n", one / good);
    return 0;
}
