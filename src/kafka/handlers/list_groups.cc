#include <algorithm>
#include <cctype>

#include "kafka/handlers/group_codes.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

bool same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

/// An empty filter passes all.
bool passes(const std::vector<std::string>& filter, std::string_view word) {
  return filter.empty() ||
         std::ranges::any_of(filter, [&](const auto& each) { return same_word(each, word); });
}

}  // namespace

io::Task<ListGroupsResponse> list_groups(Context& context, ListGroupsRequest request) {
  ListGroupsResponse response;
  auto add = [&](std::string id, std::string protocol_type, std::string state,
                 std::string_view type) {
    if (!passes(request.states_filter, state) || !passes(request.types_filter, type)) return;
    auto& out = response.groups.emplace_back();
    out.group_id = std::move(id);
    out.protocol_type = std::move(protocol_type);
    out.group_state = std::move(state);
    out.group_type = type;
  };
  auto groups = co_await context.groups().list();
  for (auto& group : groups) {
    add(std::move(group.id), std::move(group.protocol_type), std::move(group.state),
        name_of(group.type));
  }
  auto share_groups = co_await context.share_groups().list();
  for (auto& group : share_groups) {
    add(std::move(group.id), "share", std::move(group.state), "share");
  }
  co_return response;
}

}  // namespace millrace::kafka
