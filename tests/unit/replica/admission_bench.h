// Admission with everything around it played by the test.
#pragma once

#include "log/entry.h"
#include "os/clock.h"
#include "record/json.h"
#include "replica/admission.h"

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace weir::replica::test {

inline record::StreamPtr a_stream(std::int32_t partitions = 2, record::OnError on_error = record::OnError::dead_letter,
                                  bool dedup = true) {
    auto stream = std::make_shared<record::Stream>();
    stream->id = {ShardId(0), LogIndex(3)};
    stream->name = "s";
    record::Column id;
    id.name = "id";
    id.path = {{"id", -1}};
    id.path_text = "$.id";
    stream->schema.columns = {id};
    if (dedup) {
        stream->schema.dedup_key = {0};
        stream->schema.dedup_within_ms = 3'600'000;
    }
    stream->schema.partitions = partitions;
    stream->schema.on_error = on_error;
    return stream;
}

struct Bench {
    os::SimClock clock;
    std::vector<Proposal> proposals;
    std::vector<std::pair<LogIndex, Waiter>> waits;
    AdmissionOptions options;
    Admission admission{options,
                        clock,
                        {[this](Proposal&& p) { proposals.push_back(std::move(p)); },
                         [this](LogIndex i, Waiter&& w) { waits.emplace_back(i, std::move(w)); }, [](const Error&) {}}};
    record::StreamPtr stream;
    std::vector<IngestOutcome> outcomes;

    // `last_append_ms`: of the log that was recovered.
    explicit Bench(record::StreamPtr s = a_stream(), std::int64_t last_append_ms = INT64_MIN,
                   const AdmissionOptions& with = {})
        : options(with), stream(std::move(s)) {
        admission.on_message(message::Leading{LogIndex(10), Term(4), LogIndex(9)});
        message::Recovered recovered;
        recovered.last_append_ms = last_append_ms;
        StreamAdmission facts;
        facts.stream = stream;
        facts.end_offsets.assign(static_cast<std::size_t>(stream->schema.partitions), 100);
        recovered.streams.push_back(std::move(facts));
        admission.on_message(std::move(recovered));
        admission.on_message(message::CommittedUpTo{LogIndex(9)});
        (void)admission.step();
    }

    IngestRequest request(const std::string& body) {
        IngestRequest r;
        r.stream = stream;
        r.body = body;
        r.body.reserve(r.body.size() + record::JsonDecoder::padding_bytes);
        r.events = std::make_unique<record::DecodedEvents>();
        record::JsonDecoder decoder;
        decoder.decode(stream->schema, record::BodyShape::ndjson, r.body, clock.wall, {1}, nullptr, *r.events);
        r.done = [this](IngestOutcome&& o) { outcomes.push_back(std::move(o)); };
        return r;
    }
    void send(const std::string& body) { admission.on_message(request(body)); }
    void commit(std::size_t proposal) {
        auto& p = proposals.at(proposal);
        for (auto& w : p.waiters)
            w.done(std::move(w.outcome));
        admission.on_message(message::CommittedUpTo{p.index});
        (void)admission.step();
    }
    log::Entry entry(std::size_t proposal) {
        auto decoded = log::decode_entry(*proposals.at(proposal).buffer);
        REQUIRE(decoded.has_value());
        return std::move(decoded).value();
    }
    // Every section of one kind in everything proposed so far.
    template <class T>
    std::vector<T> sections() {
        std::vector<T> found;
        for (std::size_t i = 0; i < proposals.size(); i++) {
            for (const auto& section : entry(i).sections) {
                if (const auto* one = std::get_if<T>(&section)) found.push_back(*one);
            }
        }
        return found;
    }
    // What is proposed is committed at once.
    void step_and_commit() {
        (void)admission.step();
        while (committed < proposals.size())
            commit(committed++);
    }
    std::size_t committed = 0;  // by step_and_commit()
};

inline std::uint64_t records_in(const log::Entry& entry, PartitionNo dead_or_live) {
    std::uint64_t n = 0;
    for (const auto& section : entry.sections) {
        const auto* batch = std::get_if<log::BatchSection>(&section);
        if (batch != nullptr && (batch->partition == dead_letter_partition) == (dead_or_live == dead_letter_partition))
            n += batch->count;
    }
    return n;
}

}  // namespace weir::replica::test
