#include "broker/detail/share_partition.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::broker::detail {

namespace {

bool is_done(RecordState state) {
  return state == RecordState::kAcknowledged || state == RecordState::kArchived;
}

Error invalid(std::string text) { return Error{ErrorCode::kInvalidArgument, std::move(text)}; }

}  // namespace

// ---- runs

void SharePartition::link(Runs::const_iterator at) {
  const auto& [first, run] = *at;
  const int64_t count = run.last - first + 1;
  const bool delayed = run.state == RecordState::kAvailable && run.until != 0;
  if (run.until != 0) timers_.emplace(run.until, first);
  if (run.state == RecordState::kAvailable && !delayed) ready_.insert(first);
  if (run.state == RecordState::kDying) dying_.insert(first);
  if (is_done(run.state)) {
    done_ += count;
  } else {
    (delayed ? delayed_ : in_flight_) += count;
  }
}

void SharePartition::unlink(Runs::const_iterator at) {
  const auto& [first, run] = *at;
  const int64_t count = run.last - first + 1;
  const bool delayed = run.state == RecordState::kAvailable && run.until != 0;
  if (run.until != 0) timers_.erase({run.until, first});
  if (run.state == RecordState::kAvailable && !delayed) ready_.erase(first);
  if (run.state == RecordState::kDying) dying_.erase(first);
  if (is_done(run.state)) {
    done_ -= count;
  } else {
    (delayed ? delayed_ : in_flight_) -= count;
  }
}

SharePartition::Runs::iterator SharePartition::insert(Offset first, Run run) {
  const auto at = runs_.emplace(first, run).first;
  link(at);
  return at;
}

SharePartition::Runs::iterator SharePartition::erase(Runs::iterator at) {
  unlink(at);
  return runs_.erase(at);
}

void SharePartition::split(Offset at) {
  auto next = runs_.upper_bound(at);
  if (next == runs_.begin()) return;
  const auto run = std::prev(next);
  if (run->first == at || run->second.last < at) return;
  const Run right = run->second;
  unlink(run);
  run->second.last = at - 1;
  link(run);
  insert(at, right);
}

void SharePartition::merge(Runs::iterator at) {
  const auto next = std::next(at);
  if (next != runs_.end() && next->second.same_as(at->second)) {
    const Offset last = next->second.last;
    erase(next);
    unlink(at);
    at->second.last = last;
    link(at);
  }
  if (at == runs_.begin()) return;
  const auto before = std::prev(at);
  if (!before->second.same_as(at->second)) return;
  const Offset last = at->second.last;
  erase(at);
  unlink(before);
  before->second.last = last;
  link(before);
}

void SharePartition::set(Offset first, Offset last, Run run, Keep keep) {
  split(first);
  split(last + 1);
  for (auto at = runs_.lower_bound(first); at != runs_.end() && at->first <= last;) at = erase(at);
  run.last = last;
  merge(insert(first, run));
  if (keep == Keep::kDurably) touch(first, last);
}

void SharePartition::touch(Offset first, Offset last) {
  Offset& touched = touched_.try_emplace(first, last).first->second;
  touched = std::max(touched, last);
}

void SharePartition::extend(Offset last) {
  if (last < end_) return;
  merge(insert(end_, Run{.last = last}));
  end_ = last + 1;
}

void SharePartition::advance_start() {
  while (!runs_.empty() && is_done(runs_.begin()->second.state)) {
    start_ = runs_.begin()->second.last + 1;
    erase(runs_.begin());
  }
  while (!touched_.empty() && touched_.begin()->first < start_) {
    const Offset last = touched_.begin()->second;
    touched_.erase(touched_.begin());
    if (last >= start_) touch(start_, last);
  }
}

// ---- consumers

std::optional<Offset> SharePartition::next_fetch(const ShareLimits& limits) const {
  if (!ready_.empty()) return *ready_.begin();
  if (in_flight_ >= limits.in_flight || delayed_ >= limits.delayed) return std::nullopt;
  return end_;
}

void SharePartition::pass_over(Offset first, Offset last) {
  extend(last);
  split(first);
  for (auto at = ready_.lower_bound(first); at != ready_.end() && *at <= last;) {
    const Offset begin = std::max(*at, first);
    const Offset end = std::min(runs_.at(*at).last, last);
    set(begin, end, Run{.state = RecordState::kArchived});
    at = ready_.upper_bound(end);
  }
}

void SharePartition::delay(const ShareSpan& span, int64_t now) {
  for (const auto& [offset, time] : span.deliver_at) {
    if (time <= now || offset < start_ || offset >= end_) continue;
    const auto& run = std::prev(runs_.upper_bound(offset))->second;
    if (run.state != RecordState::kAvailable || run.until != 0) continue;
    set(offset, offset, Run{.deliveries = run.deliveries, .until = time}, Keep::kInMemory);
  }
}

bool SharePartition::take_span(const Acquire& how, ShareSpan& span, const ShareLimits& limits,
                               int64_t& count, std::vector<ShareAcquired>& out) {
  const Offset low = std::max(span.first, start_);
  if (span.last < low) return true;
  if (span.passed_over) return pass_over(low, span.last), true;
  if (span.last >= end_ && delayed_ < limits.delayed) {
    const int64_t room = std::max<int64_t>(0, limits.in_flight - in_flight_);
    Offset last = std::min(span.last, end_ + room - 1);
    if (how.strict && span.deliver_at.empty())
      last = std::min(last, std::max(end_, low) + (how.records_max - count) - 1);
    extend(last);
  }
  delay(span, how.now);
  split(low);
  for (auto at = ready_.lower_bound(low); at != ready_.end() && *at <= span.last;) {
    if (how.strict && count >= how.records_max) return false;
    const Offset first = *at;
    const Run run = runs_.at(first);
    Offset last = std::min(run.last, span.last);
    if (how.strict) last = std::min(last, first + (how.records_max - count) - 1);
    const auto deliveries = static_cast<int16_t>(run.deliveries + 1);
    set(first, last,
        Run{.state = RecordState::kAcquired,
            .deliveries = deliveries,
            .member = how.member,
            .until = how.now + how.lock_ms});
    count += last - first + 1;
    span.taken = true;
    if (!out.empty() && out.back().last + 1 == first && out.back().delivery_count == deliveries) {
      out.back().last = last;
    } else {
      out.push_back({first, last, deliveries});
    }
    at = ready_.lower_bound(last + 1);
  }
  return span.last < end_;  // false: no room for the rest of it
}

std::vector<ShareAcquired> SharePartition::acquire(const Acquire& how,
                                                   std::vector<ShareSpan>& spans,
                                                   const ShareLimits& limits) {
  std::vector<ShareAcquired> out;
  int64_t count = 0;
  for (auto& span : spans) {
    if (count >= how.records_max || !take_span(how, span, limits, count, out)) break;
  }
  advance_start();
  return out;
}

Result<> SharePartition::check(uint64_t member, bool renews,
                               const std::vector<ShareAcknowledgement>& acknowledgements) const {
  Offset before = -1;
  for (const auto& ack : acknowledgements) {
    if (ack.first > ack.last || ack.first <= before)
      return invalid(fmt::format("offsets {}..{} are out of order", ack.first, ack.last));
    before = ack.last;
    if (ack.types.empty() ||
        (ack.types.size() > 1 && static_cast<uint64_t>(ack.last - ack.first) !=
                                     static_cast<uint64_t>(ack.types.size()) - 1))
      return invalid(fmt::format("{} acknowledgements for offsets {}..{}", ack.types.size(),
                                 ack.first, ack.last));
    const auto most = renews ? ShareAcknowledgement::kRenew : ShareAcknowledgement::kReject;
    for (const int8_t type : ack.types) {
      if (type < 0 || type > most)
        return invalid(fmt::format("there is no acknowledgement of type {}", type));
    }
    if (ack.last < start_) continue;  // done with: the log has begun after it
    if (ack.last >= end_) return invalid(fmt::format("offset {} was never delivered", ack.last));
    for (auto at = std::prev(runs_.upper_bound(std::max(ack.first, start_)));
         at != runs_.end() && at->first <= ack.last; ++at) {
      if (at->second.state == RecordState::kAcquired && at->second.member == member) continue;
      return Error{
          ErrorCode::kInvalidRecordState,
          fmt::format("offset {} is not acquired by this member", std::max(at->first, ack.first))};
    }
  }
  return {};
}

void SharePartition::give_up(Offset first, const Run& run, const ShareLimits& limits) {
  if (limits.letters) {
    set(first, run.last, Run{.state = RecordState::kDying, .deliveries = run.deliveries});
  } else {
    set(first, run.last, Run{.state = RecordState::kArchived});
  }
}

void SharePartition::let_go(Offset first, const Run& run, const ShareLimits& limits) {
  if (run.deliveries >= limits.deliveries) return give_up(first, run, limits);
  set(first, run.last, Run{.deliveries = run.deliveries});
}

void SharePartition::acknowledge_run(Offset first, Offset last, int8_t type, int64_t until,
                                     const ShareLimits& limits) {
  first = std::max(first, start_);
  while (first <= last) {
    Run run = std::prev(runs_.upper_bound(first))->second;
    run.last = std::min(run.last, last);
    switch (type) {
      case ShareAcknowledgement::kAccept:
        set(first, run.last, Run{.state = RecordState::kAcknowledged});
        break;
      case ShareAcknowledgement::kRelease:
        let_go(first, run, limits);
        break;
      case ShareAcknowledgement::kReject:
        give_up(first, run, limits);
        break;
      case ShareAcknowledgement::kRenew:
        run.until = until;
        set(first, run.last, run, Keep::kInMemory);
        break;
      default:
        set(first, run.last, Run{.state = RecordState::kArchived});
    }
    first = run.last + 1;
  }
}

Result<> SharePartition::acknowledge(uint64_t member, int64_t now, int64_t lock_ms, bool renews,
                                     const std::vector<ShareAcknowledgement>& acknowledgements,
                                     const ShareLimits& limits) {
  MR_TRY(check(member, renews, acknowledgements));
  for (const auto& ack : acknowledgements) {
    if (ack.last < start_) continue;
    if (ack.types.size() == 1) {
      acknowledge_run(ack.first, ack.last, ack.types[0], now + lock_ms, limits);
      continue;
    }
    for (size_t from = 0; from < ack.types.size();) {
      size_t to = from;
      while (to + 1 < ack.types.size() && ack.types[to + 1] == ack.types[from]) ++to;
      acknowledge_run(ack.first + static_cast<Offset>(from), ack.first + static_cast<Offset>(to),
                      ack.types[from], now + lock_ms, limits);
      from = to + 1;
    }
  }
  advance_start();
  return {};
}

bool SharePartition::release(uint64_t member, const ShareLimits& limits) {
  std::vector<std::pair<Offset, Run>> held;
  for (const auto& [until, first] : timers_) {
    const auto& run = runs_.at(first);
    if (run.state == RecordState::kAcquired && run.member == member) held.emplace_back(first, run);
  }
  for (const auto& [first, run] : held) let_go(first, run, limits);
  advance_start();
  return !held.empty();
}

// ---- time

bool SharePartition::tick(int64_t now, const ShareLimits& limits) {
  bool news = false;
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const Offset first = timers_.begin()->second;
    const Run run = runs_.at(first);
    news = true;
    if (run.state == RecordState::kAcquired) {
      let_go(first, run, limits);
    } else {
      set(first, run.last, Run{.deliveries = run.deliveries}, Keep::kInMemory);
    }
  }
  if (news) advance_start();
  return news;
}

std::optional<int64_t> SharePartition::next_event() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first;
}

// ---- the log and the dead

void SharePartition::log_start(Offset offset) {
  if (offset <= start_) return;
  split(offset);
  while (!runs_.empty() && runs_.begin()->first < offset) erase(runs_.begin());
  start_ = offset;
  end_ = std::max(end_, offset);
  advance_start();
}

std::vector<ShareRange> SharePartition::dying(size_t count_max) const {
  std::vector<ShareRange> out;
  size_t count = 0;
  for (const Offset first : dying_) {
    if (count >= count_max) break;
    const auto& run = runs_.at(first);
    const Offset last = std::min(run.last, first + static_cast<Offset>(count_max - count) - 1);
    count += static_cast<size_t>(last - first + 1);
    out.push_back({first, last, run.state, run.deliveries});
  }
  return out;
}

void SharePartition::archive(Offset first, Offset last) {
  first = std::max(first, start_);
  if (last < first) return;
  split(first);
  split(last + 1);
  for (auto at = dying_.lower_bound(first); at != dying_.end() && *at <= last;) {
    const Offset begin = *at;
    const Offset end = runs_.at(begin).last;
    set(begin, end, Run{.state = RecordState::kArchived});
    at = dying_.upper_bound(end);
  }
  advance_start();
}

// ---- durability

ShareRange SharePartition::durable(Offset first, Offset last, const Run& run) const {
  const auto state = is_done(run.state) ? run.state : RecordState::kAvailable;
  return {first, last, state, run.deliveries};
}

namespace {
void add(std::vector<ShareRange>& ranges, const ShareRange& range) {
  if (!ranges.empty() && ranges.back().last + 1 == range.first &&
      ranges.back().state == range.state && ranges.back().deliveries == range.deliveries) {
    ranges.back().last = range.last;
  } else {
    ranges.push_back(range);
  }
}
}  // namespace

ShareDelta SharePartition::take_changes() {
  ShareDelta delta{start_, {}};
  Offset from = start_;
  for (const auto& [first, last] : touched_) {
    from = std::max(from, first);
    for (auto at = std::prev(runs_.upper_bound(from)); from <= last; ++at) {
      const Offset end = std::min(last, at->second.last);
      add(delta.ranges, durable(from, end, at->second));
      from = end + 1;
    }
  }
  touched_.clear();
  told_start_ = start_;
  return delta;
}

ShareDelta SharePartition::snapshot() {
  ShareDelta delta{start_, {}};
  for (const auto& [first, run] : runs_) {
    const auto range = durable(first, run.last, run);
    if (range.state == RecordState::kAvailable && range.deliveries == 0) continue;
    add(delta.ranges, range);
  }
  touched_.clear();
  told_start_ = start_;
  return delta;
}

void SharePartition::apply(const ShareDelta& delta) {
  log_start(delta.start);
  for (const auto& range : delta.ranges) {
    if (range.last < start_ || range.last < range.first) continue;
    extend(range.last);
    set(std::max(range.first, start_), range.last,
        Run{.state = range.state, .deliveries = range.deliveries}, Keep::kInMemory);
  }
  advance_start();
  touched_.clear();
  told_start_ = start_;
}

void SharePartition::restored(const ShareLimits& limits) {
  std::vector<std::pair<Offset, Run>> spent;
  for (const Offset first : ready_) {
    const auto& run = runs_.at(first);
    if (run.deliveries >= limits.deliveries) spent.emplace_back(first, run);
  }
  for (const auto& [first, run] : spent) give_up(first, run, limits);
  advance_start();
}

ShareRange SharePartition::at(Offset offset) const {
  const auto& [first, run] = *std::prev(runs_.upper_bound(offset));
  return {first, run.last, run.state, run.deliveries};
}

}  // namespace millrace::broker::detail
