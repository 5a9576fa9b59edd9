#pragma once

#include <string>

#include "broker/broker.h"

namespace millrace::kafka {

// Where a configuration's value comes from. Source: DescribeConfigsResponse.ConfigSource.
inline constexpr int8_t kTopicSource = 1;
inline constexpr int8_t kStaticBrokerSource = 4;
inline constexpr int8_t kDefaultSource = 5;

// Kinds of resource. Source: Kafka's ConfigResource.Type.
inline constexpr int8_t kTopicResource = 2;
inline constexpr int8_t kBrokerResource = 4;

}  // namespace millrace::kafka
