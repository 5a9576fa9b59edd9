#include "flow/detail/state_stream.h"

#include <fmt/format.h>

namespace millrace::flow {

bool StateReader::begin(std::string_view what, uint32_t version) {
  const std::string found(bytes());
  const auto found_version = number<uint32_t>();
  if (ok() && (found != what || found_version != version))
    fail(fmt::format("state of {} (version {}) is wanted, {} (version {}) is there", what, version,
                     found, found_version));
  return ok();
}

void StateReader::fail(std::string why) {
  if (!error_) error_ = Error{ErrorCode::kCorruptRecord, std::move(why)};
}

Result<> StateReader::result() const {
  if (error_) return *error_;
  return {};
}

const char* StateReader::take(uint64_t size) {
  if (error_) return nullptr;
  if (at_ == block_.size() && size > 0) {
    auto next = blocks_();
    if (!next) {
      error_ = std::move(next).error();
      return nullptr;
    }
    block_ = std::move(*next);
    at_ = 0;
  }
  if (size > block_.size() - at_) {
    fail("the state ends before it should");
    return nullptr;
  }
  at_ += size;
  return block_.data() + at_ - size;
}

}  // namespace millrace::flow
