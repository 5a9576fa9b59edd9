#include "sql/detail/produce_check.h"

#include <fmt/format.h>

#include <limits>

#include "sql/detail/errors.h"

namespace millrace::sql {

Result<std::unique_ptr<Decoder>> TopicProduceCheck::take(const catalog::Object& topic) {
  {
    std::lock_guard lock(mutex_);
    auto node = idle_.extract(Key{topic.id, topic.version});
    if (!node.empty()) return std::move(node.mapped());
  }
  MR_TRY(auto columns, columns_of(topic));
  std::vector<size_t> visible;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (!columns[i].hidden) visible.push_back(i);
  }
  return Decoder::make(topic, std::move(visible));
}

void TopicProduceCheck::give_back(const catalog::Object& topic, std::unique_ptr<Decoder> decoder) {
  const Key key{topic.id, topic.version};
  std::lock_guard lock(mutex_);
  // Older versions of the topic will not come back.
  std::erase_if(idle_, [&](const auto& kept) {
    return kept.first.first == key.first && kept.first.second < key.second;
  });
  idle_.emplace(key, std::move(decoder));
}

Result<> TopicProduceCheck::check(const catalog::Object& topic, std::string_view batches) {
  return guarded([&]() -> Result<> {
    MR_TRY(auto decoder, take(topic));
    duckdb::DataChunk rows;
    rows.Initialize(
        duckdb::Allocator::DefaultAllocator(),
        duckdb::vector<duckdb::LogicalType>(decoder->types().begin(), decoder->types().end()));
    std::vector<BadRecord> bad;
    const auto drop = [](duckdb::DataChunk& chunk) { chunk.Reset(); };
    auto decoded =
        decoder->decode(batches, 0, 0, std::numeric_limits<Offset>::max(), rows, drop, &bad);
    give_back(topic, std::move(decoder));
    MR_TRY(std::move(decoded));
    if (bad.empty()) return {};
    return Error{ErrorCode::kInvalidRecord,
                 fmt::format("record {} does not fit topic \"{}\": {}", bad.front().offset,
                             topic.name, bad.front().reason)};
  });
}

}  // namespace millrace::sql
