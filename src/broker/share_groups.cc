#include "broker/share_groups.h"

namespace millrace::broker {

namespace {

class ShareGroupsImpl final : public ShareGroups {
 public:
  io::Task<void> close() override { co_return; }
};

}  // namespace

io::Task<Result<std::unique_ptr<ShareGroups>>> ShareGroups::open(io::Runtime&, io::Env&, Broker&) {
  co_return std::unique_ptr<ShareGroups>(std::make_unique<ShareGroupsImpl>());
}

}  // namespace millrace::broker
