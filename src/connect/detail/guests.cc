#include "connect/detail/guests.h"

#include <fmt/format.h>

namespace millrace::connect {

using OnError = catalog::Transform::OnError;

Guests::Guests(const Connectors::Rooms& rooms, const catalog::Object& connector, Progress& progress)
    : rooms_(rooms), connector_(connector), progress_(progress) {}

Result<broker::OpenedChain> Guests::open() {
  auto& transforms = *rooms_.broker.transforms();
  std::lock_guard lock(mutex_);
  if (chain_.guests && chain_.version == transforms.version()) return chain_;
  const auto place = fmt::format("{} {}", catalog::name_of(connector_.kind), connector_.name);
  MR_TRY(chain_,
         rooms_.runtime.shard(0).block_on(transforms.open_chain(connector_.transforms, place)));
  progress_.set_chain(chain_.guests);
  return chain_;
}

Result<Shaped> Guests::shape(const Records& records) {
  Shaped shaped;
  shaped.records = records.records;
  if (connector_.transforms.empty() || records.records.empty()) return shaped;
  MR_TRY(const auto chain, open());
  const auto on_error = connector_.transforms.front().on_error;  // one for all
  auto output = chain.guests->apply({.records = records.records});
  if (!output) {
    progress_.lose(records.records.size());
    if (on_error == OnError::kReject) return std::move(output).error();
    shaped.records = {};
    if (on_error == OnError::kSkip) return shaped;
    for (uint32_t i = 0; i < records.records.size(); ++i) {
      shaped.letters.push_back({i, output.error().text});
    }
    return shaped;
  }
  for (const auto& error : output->errors()) {
    const auto& step = connector_.transforms[error.step];
    progress_.lose(1);
    auto why = fmt::format("{}.{}: {}", step.function, step.export_name, error.message);
    if (on_error == OnError::kReject) {
      return Error{ErrorCode::kInvalidRecord, "a record failed in " + why};
    }
    if (on_error == OnError::kDeadLetter) shaped.letters.push_back({error.input, std::move(why)});
  }
  shaped.output = std::move(*output);
  shaped.records = shaped.output->records();
  return shaped;
}

}  // namespace millrace::connect
