// Any bytes as the fields and the data of a CloudEvent in HTTP's binary mode. What is made of them must be one JSON
// object to a parser that is not ours, with the attributes that the fields say and nothing of the data beside them.
// Input: lines `name: value` up to an empty one, then the data. The first byte picks the content type.
#include "http/detail/cloud_event.h"

#include "http/detail/ingest_plan.h"

#include <simdjson.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

using namespace weir;
using namespace weir::http;

namespace {

void require(bool claim) {
    if (!claim) std::abort();
}

constexpr const char* types[] = {
    "application/json", "text/plain", "image/png", "", "application/x-www-form-urlencoded", "a/b+json; charset=utf-8"};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static simdjson::dom::parser dom;
    if (size == 0) return 0;
    const std::string_view type = types[data[0] % 6];
    std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
    std::vector<CloudField> fields;
    while (!rest.empty()) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        if (line.empty()) break;
        const std::size_t colon = std::min(line.find(": "), line.size());
        fields.emplace_back(line.substr(0, colon), line.substr(std::min(colon + 2, line.size())));
    }
    (void)media_type_of(rest);
    (void)coding_of(rest);
    const auto front = cloud_event_front(fields);
    if (!front) return 0;
    const std::unique_ptr<char[]> bytes = std::make_unique<char[]>(rest.size() + 64);
    if (!rest.empty()) std::memcpy(bytes.get(), rest.data(), rest.size());
    std::memset(bytes.get() + rest.size(), data[0], 64);
    const std::string_view body(bytes.get(), rest.size());
    const CloudDataKind said = cloud_data_of(type);
    const CloudData kind = said.kind.value_or(looks_like_json(body) ? CloudData::json : said.otherwise);
    const CloudEvent event = make_cloud_event(front.value(), type, kind, body);
    if (event.reason != record::Reject::none) {
        require(kind == CloudData::json && !event.message.empty());
        return 0;
    }
    require(event.event.capacity() >= event.event.size() + 64);
    simdjson::dom::object object;
    const auto parsed = dom.parse(event.event.data(), event.event.size()).get(object);
    // Numbers beyond its range are the one thing that we take and it does not.
    if (parsed == simdjson::NUMBER_ERROR || parsed == simdjson::NUMBER_OUT_OF_RANGE) return 0;
    require(parsed == simdjson::SUCCESS);
    std::size_t members = 0, data_members = 0;
    for (const auto& member : object) {
        ++members;
        if (member.key == "data" || member.key == "data_base64") ++data_members;
    }
    require(data_members <= 1);
    require(members == fields.size() + data_members + (type.empty() ? 0 : 1));
    for (const auto& [name, value] : fields) {
        std::string lower(name);
        for (char& c : lower)
            c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
        std::string_view text;
        require(object[lower].get(text) == simdjson::SUCCESS);
        require(text == decode_attribute(value).value());
    }
    return 0;
}
