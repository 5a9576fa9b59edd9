#include "broker/detail/intake.h"

namespace millrace::broker::detail {

namespace {
/// What takes a shard longer than the way to the pool and back.
constexpr size_t kPoolBytes = 256 * 1024;
}  // namespace

Intake::Intake(io::Runtime& runtime, log::IntakeRules rules) : runtime_(runtime), rules_(rules) {
  for (size_t i = 0; i < runtime.shard_count(); ++i) {
    turns_.push_back(std::make_unique<io::Turn>(runtime.shard(i)));
  }
}

io::Task<Result<std::string>> Intake::take_in(std::string batches) {
  if (batches.size() < kPoolBytes) co_return log::take_in(std::move(batches), rules_);
  auto work = [this, &batches] { return log::take_in(std::move(batches), rules_); };
  auto working = runtime_.blocking(work);
  co_return co_await std::move(working);
}

}  // namespace millrace::broker::detail
