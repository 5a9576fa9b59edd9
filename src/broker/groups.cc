#include "broker/groups.h"

namespace millrace::broker {

namespace {

/// Until the registry stands: no group exists.
class GroupsImpl final : public Groups {
 public:
  using Outcomes = std::vector<Result<>>;
  io::Task<void> close() override { co_return; }
  io::Task<Result<Outcomes>> commit(std::string, GroupCaller,
                                    std::vector<OffsetToCommit>) override {
    co_return none();
  }
  io::Task<Result<std::vector<FetchedOffset>>> fetch(std::string, GroupCaller,
                                                     std::optional<std::vector<TopicPartition>>,
                                                     bool) override {
    co_return none();
  }
  io::Task<Result<Outcomes>> delete_offsets(std::string, std::vector<TopicPartition>) override {
    co_return none();
  }
  io::Task<Result<Outcomes>> stage_offsets(int64_t, int16_t, std::string, GroupCaller,
                                           std::vector<OffsetToCommit>) override {
    co_return none();
  }
  io::Task<Result<>> finish_transaction(int64_t, bool) override { co_return Result<>(); }
  io::Task<JoinAnswer> join(JoinRequest, std::stop_token) override {
    JoinAnswer answer;
    answer.error = none();
    co_return answer;
  }
  io::Task<SyncAnswer> sync(SyncRequest, std::stop_token) override {
    SyncAnswer answer;
    answer.error = none();
    co_return answer;
  }
  io::Task<Result<>> heartbeat(std::string, GroupCaller) override { co_return none(); }
  io::Task<Result<Outcomes>> leave(std::string, std::vector<LeavingMember>) override {
    co_return none();
  }
  io::Task<std::vector<GroupInfo>> list() override { co_return std::vector<GroupInfo>(); }
  io::Task<Result<GroupInfo>> describe(std::string) override { co_return none(); }
  io::Task<Result<>> remove(std::string) override { co_return none(); }

 private:
  static Error none() { return Error{ErrorCode::kGroupNotFound, "there are no groups yet"}; }
};

}  // namespace

std::string_view name_of(GroupType type) {
  return type == GroupType::kClassic ? "classic" : "consumer";
}

io::Task<Result<std::unique_ptr<Groups>>> Groups::open(io::Runtime&, io::Env&, Broker&,
                                                       GroupOptions) {
  co_return std::unique_ptr<Groups>(std::make_unique<GroupsImpl>());
}

}  // namespace millrace::broker
