#include "flow/detail/dataflow.h"

#include "flow/detail/state_stream.h"

namespace millrace::flow {

void Operator::freeze() {
  frozen_.clear();
  StateWriter out([this](const std::string& block) { frozen_ += block; });
  save(out);
  out.finish();
}

bool Operator::save_some(StateWriter& out, size_t) {
  if (!frozen_.empty()) out.raw(frozen_.data(), frozen_.size());
  frozen_ = {};
  return true;
}

}  // namespace millrace::flow
