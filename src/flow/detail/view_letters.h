#pragma once

#include <memory>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "flow/detail/changelog.h"

namespace millrace::flow {

/// Copies the rows that a view's expressions failed over from the commits of its changelog to
/// `<view>.dead_letter`, each once: a letter says which commit it is of, and after a crash the last
/// one says where to go on. One thread at a time, none of a shard's.
class ViewLetters {
 public:
  ViewLetters(broker::Broker& broker, const catalog::Object& view,
              std::shared_ptr<broker::Partition> changelog);

  /// Writes the letters that the changelog holds and their topic does not yet.
  Result<> recover();
  /// Makes the topic; before the first commit that has something for it is written.
  Result<> prepare();
  /// `commit`: the offset of the commit.
  Result<> write(Offset commit, TimestampMs clock, const std::vector<FailedRow>& failed);

 private:
  /// Of the last letter.
  struct Place {
    Offset commit = -1;
    size_t index = 0;
  };
  Result<Place> last_place();

  broker::Broker& broker_;
  const std::string view_;
  const std::string topic_;
  const std::shared_ptr<broker::Partition> changelog_;
  std::shared_ptr<broker::Partition> letters_;
  Place last_;
};

}  // namespace millrace::flow
