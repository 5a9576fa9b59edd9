#include "broker/detail/producer_ids.h"

#include <fmt/format.h>

#include <charconv>

namespace millrace::broker::detail {

namespace {
constexpr int64_t kBlock = 1000;
}

Result<std::unique_ptr<ProducerIds>> ProducerIds::open(io::FileSystem& files, std::string path) {
  int64_t begin = 0;
  if (files.exists(path)) {
    MR_TRY(const std::string text, files.read_file(path));
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), begin);
    if (error != std::errc() || end == text.data() || *end != '\n' || begin < 0) {
      return Error{ErrorCode::kCorruptRecord,
                   fmt::format("{} does not say which producer ids are free", path)};
    }
  }
  return std::make_unique<ProducerIds>(files, std::move(path), begin);
}

Result<int64_t> ProducerIds::next() {
  if (next_ == end_) {
    MR_TRY(files_.replace_file(path_, fmt::format("{}\n", end_ + kBlock)));
    end_ += kBlock;
  }
  return next_++;
}

}  // namespace millrace::broker::detail
