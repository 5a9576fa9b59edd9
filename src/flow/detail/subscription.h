#pragma once

#include <functional>
#include <memory>
#include <string>

#include "broker/broker.h"
#include "flow/detail/view.h"
#include "sql/subscription.h"

namespace millrace::flow {

/// What a subscription reads.
struct SubscriptionSource {
  std::shared_ptr<const broker::Topic> topic;  // the view's changelog
  /// The view as it runs now: it is started anew when an input gets partitions. Null: dropped.
  std::function<std::shared_ptr<View>()> view;
};

/// Follows a view from `options` on. Errors: kInvalidArgument and kOffsetOutOfRange (the token).
Result<std::unique_ptr<sql::Subscription>> open_subscription(SubscriptionSource source,
                                                             sql::SubscribeOptions options);

}  // namespace millrace::flow
