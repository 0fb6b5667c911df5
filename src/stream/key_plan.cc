#include "stream/detail/key_plan.h"

#include "base/check.h"
#include "stream/detail/time.h"

namespace weir::stream::detail {

using record::ColumnType;
using store::Value;

KeyPart column_part(const record::Schema& schema, int column) {
    KeyPart part;
    part.column = static_cast<std::size_t>(column);
    switch (schema.columns[part.column].type) {
        case ColumnType::integer:
        case ColumnType::boolean:
        case ColumnType::timestamp:
            part.source = KeyPart::Source::whole;
            break;
        case ColumnType::real:
            part.source = KeyPart::Source::real;
            break;
        case ColumnType::text:
        case ColumnType::json:
            part.source = KeyPart::Source::text;
            break;
        case ColumnType::blob:
            part.source = KeyPart::Source::blob;
            break;
    }
    return part;
}

Result<KeyPlan> KeyPlan::make(const record::Schema& schema, const TumblePlan& plan,
                              std::vector<std::string>& expressions) {
    KeyPlan keys;
    keys.size_ms_ = plan.size_ms;
    for (const TumbleKey& key : plan.keys) {
        keys.kinds_.push_back(key.kind);
        if (key.kind != TumbleKey::Kind::input) continue;
        if (key.input.column >= static_cast<int>(schema.columns.size())) {
            return Error{Errc::invalid_argument,
                         "a key reads column " + std::to_string(key.input.column) + ", which the stream does not have"};
        }
        if (key.input.column >= 0) {
            keys.parts_.push_back(column_part(schema, key.input.column));
        } else {
            KeyPart part;
            part.source = KeyPart::Source::expression;
            part.expression = expressions.size();
            expressions.push_back(key.input.sql);
            keys.parts_.push_back(part);
        }
    }
    return keys;
}

void KeyPlan::read(std::string_view key, std::vector<Value>& row) {
    CHECK(decode_key(key, values_, texts_));
    CHECK(values_.size() == parts_.size());
    const std::int64_t start = key_window_start(key);
    std::size_t next = 0;
    for (const TumbleKey::Kind kind : kinds_) {
        switch (kind) {
            case TumbleKey::Kind::window_start:
                row.push_back(Value::of(start));
                break;
            case TumbleKey::Kind::window_end:
                row.push_back(Value::of(saturating_add(start, size_ms_)));
                break;
            case TumbleKey::Kind::input:
                row.push_back(values_[next++]);
                break;
        }
    }
}

}  // namespace weir::stream::detail
