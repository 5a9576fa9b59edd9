#include "log/batch_writer.h"

#include <algorithm>

#include "log/detail/record_body.h"

namespace millrace::log {

void BatchWriter::add(std::string& out, TimestampMs timestamp, std::string_view value,
                      const std::vector<Header>& headers) {
  if (count_ == 0) {
    begin_ = out.size();
    out.append(BatchHeader::kBytes, '\0');
    first_timestamp_ = max_timestamp_ = timestamp;
  }
  max_timestamp_ = std::max(max_timestamp_, timestamp);
  detail::append_record(out, timestamp - first_timestamp_, count_, std::nullopt, value, headers);
  ++count_;
}

void BatchWriter::finish(std::string& out) {
  MR_CHECK(count_ > 0);
  detail::write_head({out.data() + begin_, out.size() - begin_},
                     {0, count_, first_timestamp_, max_timestamp_});
  count_ = 0;
}

}  // namespace millrace::log
