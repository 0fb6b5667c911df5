// What a restart needs of a view beside its windows and groups: one record of the state store. Private to stream/.
//
//   version u8 | shape (length u32, bytes) | seen u64 | filtered u64 | windowed u64 | late u64 | groups created u64 |
//   partitions u32 | {any u8 | highest event time i64 | raised to i64}... | with EVERY: boundary i64 | epoch u64 |
//   written epoch u64
//   shape: window size i64 | offset i64 | keys u32 | {kind u8 | shape u8} an aggregate | not EMIT CHANGES alone: emit
//   u8 | second set u8 | every i64
// Little-endian. Golden in tumble_test.
#pragma once

#include "stream/detail/emission.h"
#include "stream/detail/group_layout.h"
#include "stream/detail/watermarks.h"
#include "stream/tumble.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace weir::stream::detail {

struct ViewMeta {
    ViewCounts counts;
    std::uint64_t groups_created = 0;
    Emission::State epochs;
};

// What a group's bytes depend on: a plan of another shape cannot read them.
std::string state_shape(const TumblePlan& plan, const GroupLayout& layout, std::size_t keys);

std::string encode_meta(std::string_view shape, const ViewMeta& meta, const Watermarks& watermarks, bool has_epochs);
// False: not of this shape.
bool decode_meta(std::string_view bytes, std::string_view shape, bool has_epochs, ViewMeta& meta,
                 Watermarks& watermarks);

}  // namespace weir::stream::detail
