#include "replica/raft_loop.h"

#include "base/check.h"
#include "obs/log.h"

#include <algorithm>
#include <utility>

namespace weir::replica {

std::uint64_t RaftLoop::now_ms() {
    return static_cast<std::uint64_t>(clock_.monotonic_us() / 1000) + 1;
}

Result<std::unique_ptr<RaftLoop>> RaftLoop::start(Options options, Clock& clock, os::Disk& disk,
                                                  const std::string& wal_dir, const log::RecoveredShard& recovered,
                                                  Outputs outputs) {
    auto loop = std::unique_ptr<RaftLoop>(new RaftLoop(options, clock, std::move(outputs)));
    consensus::Restored restored;
    restored.term = recovered.start.term;
    restored.vote = recovered.start.vote;
    restored.checkpoint_index = recovered.start.checkpoint_index;
    restored.checkpoint_term = recovered.start.checkpoint_term;
    if (!recovered.start.membership.empty()) {
        restored.membership = TRY(consensus::Membership::decode(recovered.start.membership));
    }
    loop->start_ = recovered.start;
    // An incarnation is a shard's life, not a process's: another one would make the log forget its entries.
    if (loop->start_.incarnation == 0) loop->start_.incarnation = options.incarnation;
    LogIndex last = restored.checkpoint_index;
    for (const auto& entry : recovered.entries) {
        if (entry.index <= restored.checkpoint_index) continue;
        consensus::Restored::Entry item{
            entry.index, entry.term, static_cast<consensus::EntryType>(entry.entry_type), {}};
        if (item.type == consensus::EntryType::change) item.payload = TRY(log::read_entry(disk, wal_dir, entry.place));
        restored.entries.push_back(std::move(item));
        last = entry.index;

        InFlight flight;
        flight.index = entry.index;
        flight.term = entry.term;
        flight.is_command = static_cast<consensus::EntryType>(entry.entry_type) == consensus::EntryType::command;
        flight.place = entry.place;
        loop->in_flight_.push_back(std::move(flight));
    }
    loop->last_at_start_ = last;
    loop->committed_ = restored.checkpoint_index.value;

    consensus::GroupOptions group;
    group.seed = options.seed;
    consensus::Effects effects;
    loop->group_ = TRY(consensus::Group::start(group, restored, loop->now_ms(), effects));
    // Once a checkpoint covers the entry that made the group, only the file headers know its members.
    loop->start_.membership = loop->group_->membership().encode();
    loop->carry_out(std::move(effects), nullptr);
    return loop;
}

// In the order of Effects' members: hard state, then entries, then messages, then what is committed.
void RaftLoop::carry_out(consensus::Effects&& effects, const std::shared_ptr<const log::EntryBuffer>& command) {
    if (effects.hard_state_changed || !effects.append.empty()) {
        FlushJob job;
        job.shard = options_.shard;
        if (effects.hard_state_changed) {
            start_.term = effects.term;
            start_.vote = effects.vote;
            job.hard_state = true;
            job.start = start_;
        }
        for (auto& entry : effects.append) {
            // A leader with one voter never truncates; a follower will (its cluster issue): then what stands behind
            // goes.
            while (!in_flight_.empty() && in_flight_.back().index >= entry.index)
                in_flight_.pop_back();
            FlushJob::Item item;
            item.index = entry.index;
            item.term = entry.term;
            item.entry_type = static_cast<std::uint8_t>(entry.type);
            InFlight flight;
            flight.index = entry.index;
            flight.term = entry.term;
            flight.is_command = entry.type == consensus::EntryType::command;
            if (flight.is_command) {
                CHECK(command != nullptr);
                item.buffer = command;
                flight.buffer = command;
            } else {
                item.own = std::move(entry.payload);
            }
            job.items.push_back(std::move(item));
            in_flight_.push_back(std::move(flight));
        }
        outputs_.flush(std::move(job));
    }
    leads_ = effects.is_leader;
    if (effects.is_leader && !leading_told_) {
        leading_told_ = true;
        outputs_.admission(
            message::Leading{LogIndex(group_->last_index().value + 1), group_->term(), LogIndex(committed_.load())});
    }
    if (effects.commit_index.value > committed_.load()) deliver_committed(effects.commit_index);
}

void RaftLoop::deliver_committed(LogIndex up_to) {
    while (!in_flight_.empty() && in_flight_.front().index <= up_to) {
        auto flight = std::move(in_flight_.front());
        in_flight_.pop_front();
        CHECK(flight.index.value > committed_.load());
        committed_ = flight.index.value;

        log::Committed entry;
        entry.index = flight.index;
        entry.term = flight.term;
        entry.is_command = flight.is_command;
        entry.buffer = std::move(flight.buffer);
        entry.place = flight.place;
        entry.done = std::move(flight.controls);
        outputs_.committed(std::move(entry));
        for (auto& waiter : flight.waiters)
            waiter.done(std::move(waiter.outcome));
    }
    outputs_.admission(message::CommittedUpTo{LogIndex(committed_.load())});
}

void RaftLoop::on_message(RaftMessage&& any) {
    struct Visitor {
        RaftLoop& self;
        void operator()(message::Propose&& m) const {
            auto& proposal = m.proposal;
            consensus::Effects effects;
            const auto index = self.group_->propose(proposal.buffer->bytes, self.now_ms(), effects);
            if (!index) {
                for (auto& waiter : proposal.waiters) {
                    waiter.outcome.status = index.error();
                    waiter.done(std::move(waiter.outcome));
                }
                for (auto& done : proposal.controls)
                    done(LogIndex(0), index.error());
                return;
            }
            // Admission gave offsets and dedup places for this very index.
            CHECK(index.value() == proposal.index);
            self.carry_out(std::move(effects), proposal.buffer);
            // Committed only after persisted(), so the entry is still here.
            CHECK(!self.in_flight_.empty() && self.in_flight_.back().index == proposal.index);
            self.in_flight_.back().waiters = std::move(proposal.waiters);
            self.in_flight_.back().controls = std::move(proposal.controls);
        }
        void operator()(message::WaitOn&& m) const {
            for (auto& flight : self.in_flight_) {
                if (flight.index == m.index) {
                    flight.waiters.push_back(std::move(m.waiter));
                    return;
                }
            }
            m.waiter.done(std::move(m.waiter.outcome));  // committed in the meantime
        }
        void operator()(message::Persisted&& m) const {
            for (const auto& [index, place] : m.places) {
                if (self.in_flight_.empty() || index < self.in_flight_.front().index) continue;
                const auto at = index.value - self.in_flight_.front().index.value;
                if (at < self.in_flight_.size()) self.in_flight_[at].place = place;
            }
            self.carry_out(self.group_->persisted(m.index, self.now_ms()), nullptr);
        }
        void operator()(message::Checkpointed&& m) const {
            CHECK(m.index.value <= self.committed_.load());
            if (m.index <= self.start_.checkpoint_index) return;
            self.carry_out(self.group_->checkpointed(m.index, m.term, self.now_ms()), nullptr);
            self.start_.checkpoint_index = m.index;
            self.start_.checkpoint_term = m.term;
            FlushJob job;
            job.shard = self.options_.shard;
            job.hard_state = true;
            job.start = self.start_;
            self.outputs_.flush(std::move(job));
        }
    };
    std::visit(Visitor{*this}, std::move(any));
}

std::int64_t RaftLoop::step() {
    const std::uint64_t now = now_ms();
    if (now >= group_->deadline_ms()) carry_out(group_->timeout(now), nullptr);
    const std::uint64_t deadline = group_->deadline_ms();
    const std::uint64_t wait_ms = deadline > now ? std::min<std::uint64_t>(deadline - now, 1000) : 1;
    return static_cast<std::int64_t>(wait_ms) * 1000;
}

}  // namespace weir::replica
