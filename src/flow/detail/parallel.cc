#include "flow/detail/parallel.h"

#include <exception>
#include <vector>

namespace millrace::flow {

Result<> for_each_piece(Parallel* parallel, size_t count,
                        const std::function<Result<>(size_t)>& piece) {
  if (!parallel || count <= 1) {
    for (size_t i = 0; i < count; ++i) MR_TRY(piece(i));
    return {};
  }
  struct Outcome {
    Result<> result;
    std::exception_ptr thrown;
  };
  std::vector<Outcome> outcomes(count);
  parallel->each(count, [&](size_t i) {
    try {
      outcomes[i].result = piece(i);
    } catch (...) {
      outcomes[i].thrown = std::current_exception();
    }
  });
  for (auto& outcome : outcomes) {
    if (outcome.thrown) std::rethrow_exception(outcome.thrown);
    MR_TRY(std::move(outcome.result));
  }
  return {};
}

}  // namespace millrace::flow
