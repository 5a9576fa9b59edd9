#include "broker/groups.h"

namespace millrace::broker {

namespace {

class GroupsImpl final : public Groups {
 public:
  io::Task<void> close() override { co_return; }
};

}  // namespace

io::Task<Result<std::unique_ptr<Groups>>> Groups::open(io::Runtime&, io::Env&, Broker&) {
  co_return std::unique_ptr<Groups>(std::make_unique<GroupsImpl>());
}

}  // namespace millrace::broker
