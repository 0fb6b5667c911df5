#include "record/detail/cloud_envelope.h"

#include "record/detail/json_message.h"

#include <array>

namespace weir::record::detail {
namespace {

// In the order in which they are asked for.
enum Member : std::size_t { specversion, id, source, type, data, data_base64, members };
constexpr std::array<const char*, members> names{"specversion", "id", "source", "type", "data", "data_base64"};

Schema envelope_schema() {
    Schema schema;
    for (const char* name : names) {
        Column column;
        column.name = name;
        column.path.push_back({name, -1});
        column.path_text = std::string("$.") + name;
        schema.columns.push_back(std::move(column));
    }
    return schema;
}

}  // namespace

CloudEnvelope::CloudEnvelope() {
    plan_.build(envelope_schema(), {});
    scanner_.use(plan_);
}

std::string CloudEnvelope::fault(const char* begin, const char* end) {
    if (scanner_.walk<false>(begin, end) == nullptr) return "not a JSON object";
    const auto token = [this](Member m) -> const Token& { return scanner_.token(plan_.column(m).node); };
    for (const Member m : {specversion, id, source, type}) {
        const Token& t = token(m);
        if (t.kind != Kind::text || t.size == 0) return missing_attribute_message(names[m], t);
    }
    const Token& version = token(specversion);
    scratch_.clear();
    unescape({version.begin, version.size}, scratch_);
    if (scratch_ != "1.0") return other_version_message(version);
    const auto is_there = [](const Token& t) { return t.kind != Kind::absent; };
    if (is_there(token(data)) && is_there(token(data_base64)) && token(data_base64).kind != Kind::null)
        return "a CloudEvent has data or data_base64, not both";
    return {};
}

}  // namespace weir::record::detail
