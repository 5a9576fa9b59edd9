#pragma once

#include <cstddef>
#include <string_view>

namespace millrace::log {

/// The partition, of `count`, that Kafka's Java client sends records with this key to: one key
/// lands in one partition, whoever writes it. Source: Kafka's default partitioner.
size_t partition_of(std::string_view key, size_t count);

}  // namespace millrace::log
