#pragma once

#include "broker/transforms.h"
#include "kafka/handlers/group_wait.h"

namespace millrace::kafka {

/// Remembers that this client speaks for `group`, so that its fetches go through the transforms
/// that topics have for it.
inline void note_group(const Context& context, std::string_view group, bool member) {
  auto* transforms = context.broker().transforms();
  if (transforms && !group.empty()) {
    transforms->seen(group, client_host(context), context.header.client_id.value_or(std::string()),
                     member);
  }
}

}  // namespace millrace::kafka
