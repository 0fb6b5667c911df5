#include "stream/detail/view_meta.h"

#include "base/wire.h"

namespace weir::stream::detail {

namespace {

constexpr std::uint8_t meta_version = 1;

}  // namespace

std::string state_shape(const TumblePlan& plan, const GroupLayout& layout, std::size_t keys) {
    std::string out;
    WireWriter writer(out);
    writer.i64(plan.size_ms);
    writer.i64(plan.offset_ms);
    writer.u32(static_cast<std::uint32_t>(keys));
    for (const PlannedAggregate& aggregate : layout.aggregates.aggregates) {
        writer.u8(static_cast<std::uint8_t>(aggregate.kind));
        writer.u8(static_cast<std::uint8_t>(aggregate.shape));
    }
    if (plan.emit == Emit::changes && plan.emit_every_ms == 0) return out;  // as version 0.1 wrote it
    writer.u8(static_cast<std::uint8_t>(plan.emit));
    writer.u8(layout.has_second ? 1 : 0);
    writer.i64(plan.emit_every_ms);
    return out;
}

std::string encode_meta(std::string_view shape, const ViewMeta& meta, const Watermarks& watermarks, bool has_epochs) {
    std::string out;
    WireWriter writer(out);
    writer.u8(meta_version);
    writer.bytes(shape);
    writer.u64(meta.counts.seen);
    writer.u64(meta.counts.filtered);
    writer.u64(meta.counts.windowed);
    writer.u64(meta.counts.late);
    writer.u64(meta.groups_created);
    writer.u32(static_cast<std::uint32_t>(watermarks.all().size()));
    for (const PartitionWatermark& p : watermarks.all()) {
        writer.u8(p.any ? 1 : 0);
        writer.i64(p.max_event_time_ms);
        writer.i64(p.raised_ms);
    }
    if (has_epochs) {
        writer.i64(meta.epochs.boundary_ms);
        writer.u64(meta.epochs.epoch);
        writer.u64(meta.epochs.written_epoch);
    }
    return out;
}

bool decode_meta(std::string_view bytes, std::string_view shape, bool has_epochs, ViewMeta& meta,
                 Watermarks& watermarks) {
    WireReader reader(bytes);
    if (reader.u8() != meta_version || reader.bytes() != shape) return false;
    meta.counts.seen = reader.u64();
    meta.counts.filtered = reader.u64();
    meta.counts.windowed = reader.u64();
    meta.counts.late = reader.u64();
    meta.groups_created = reader.u64();
    const auto partitions = static_cast<PartitionNo>(watermarks.all().size());
    if (reader.u32() != watermarks.all().size()) return false;
    for (PartitionNo p = 0; p < partitions; ++p) {
        PartitionWatermark& watermark = watermarks.at(p);
        watermark.any = reader.u8() != 0;
        watermark.max_event_time_ms = reader.i64();
        watermark.raised_ms = reader.i64();
    }
    if (has_epochs) {
        meta.epochs.boundary_ms = reader.i64();
        meta.epochs.epoch = reader.u64();
        meta.epochs.written_epoch = reader.u64();
    }
    return reader.ok() && reader.at_end();
}

}  // namespace weir::stream::detail
