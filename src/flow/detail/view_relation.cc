#include "flow/detail/view_relation.h"

#include <fmt/format.h>

namespace millrace::flow {

namespace {
// A view that is being recovered answers when it is; a client that cannot wait has its own timeout.
constexpr auto kRecoveryWait = std::chrono::minutes(2);
}  // namespace

ViewRelation::ViewRelation(std::shared_ptr<View> view, catalog::Object object)
    : view_(std::move(view)), object_(std::move(object)) {
  for (size_t i = 0; i < object_.columns.size(); ++i)
    columns_.push_back({object_.columns[i].name, view_->rows().types()[i]});
}

Result<std::unique_ptr<sql::RelationScan>> ViewRelation::scan(sql::ScanRequest request) {
  MR_TRY(view_->wait_recovered(Clock::now() + kRecoveryWait));
  return view_->rows().scan(std::move(request.columns));
}

Result<uint64_t> ViewRelation::apply(std::vector<sql::Change>) {
  return Error{
      ErrorCode::kNotSupported,
      fmt::format("{} is a materialized view: it is written by its query", view_->object().name),
      std::nullopt, "write to the topics and tables that it reads"};
}

}  // namespace millrace::flow
