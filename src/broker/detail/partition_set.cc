#include "broker/detail/partition_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>

namespace millrace::broker::detail {

namespace {

/// A bound for what is read back, far above what a topic can have.
constexpr int32_t kPartitionsMax = 10'000'000;

const std::vector<int32_t>& of(const PartitionSet& set, const Uuid& topic) {
  static const std::vector<int32_t> kNone;
  const auto at = set.find(topic);
  return at == set.end() ? kNone : at->second;
}

void put(PartitionSet& set, const Uuid& topic, std::vector<int32_t> partitions) {
  if (!partitions.empty()) set.emplace(topic, std::move(partitions));
}

}  // namespace

PartitionSet intersection(const PartitionSet& a, const PartitionSet& b) {
  PartitionSet out;
  for (const auto& [topic, partitions] : a) {
    std::vector<int32_t> both;
    std::ranges::set_intersection(partitions, of(b, topic), std::back_inserter(both));
    put(out, topic, std::move(both));
  }
  return out;
}

PartitionSet difference(const PartitionSet& a, const PartitionSet& b) {
  PartitionSet out;
  for (const auto& [topic, partitions] : a) {
    std::vector<int32_t> rest;
    std::ranges::set_difference(partitions, of(b, topic), std::back_inserter(rest));
    put(out, topic, std::move(rest));
  }
  return out;
}

PartitionSet sum(const PartitionSet& a, const PartitionSet& b) {
  PartitionSet out = a;
  for (const auto& [topic, partitions] : b) {
    std::vector<int32_t> all;
    std::ranges::set_union(partitions, of(a, topic), std::back_inserter(all));
    out[topic] = std::move(all);
  }
  return out;
}

bool intersects(const PartitionSet& a, const PartitionSet& b) {
  return !intersection(a, b).empty();
}

bool is_subset(const PartitionSet& part, const PartitionSet& whole) {
  return std::ranges::all_of(part, [&](const auto& topic) {
    return std::ranges::includes(of(whole, topic.first), topic.second);
  });
}

PartitionSet normal(PartitionSet set) {
  std::erase_if(set, [](const auto& topic) { return topic.second.empty(); });
  for (auto& [topic, partitions] : set) {
    std::ranges::sort(partitions);
    const auto rest = std::ranges::unique(partitions);
    partitions.erase(rest.begin(), rest.end());
  }
  return set;
}

std::string to_ranges(const std::vector<int32_t>& partitions) {
  std::string out;
  for (size_t i = 0; i < partitions.size();) {
    size_t end = i + 1;
    while (end < partitions.size() && partitions[end] == partitions[end - 1] + 1) ++end;
    if (!out.empty()) out += ',';
    out += fmt::format("{}", partitions[i]);
    if (end > i + 1) out += fmt::format("-{}", partitions[end - 1]);
    i = end;
  }
  return out;
}

std::optional<std::vector<int32_t>> from_ranges(std::string_view text) {
  std::vector<int32_t> out;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    int32_t first = 0;
    auto read = std::from_chars(at, end, first);
    if (read.ec != std::errc()) return std::nullopt;
    int32_t last = first;
    if (read.ptr < end && *read.ptr == '-') {
      read = std::from_chars(read.ptr + 1, end, last);
      if (read.ec != std::errc()) return std::nullopt;
    }
    const int32_t floor = out.empty() ? 0 : out.back() + 1;
    if (first < floor || last < first || last >= kPartitionsMax) return std::nullopt;
    for (int32_t p = first; p <= last; ++p) out.push_back(p);
    at = read.ptr;
    if (at == end) break;
    if (*at != ',' || ++at == end) return std::nullopt;
  }
  return out;
}

}  // namespace millrace::broker::detail
