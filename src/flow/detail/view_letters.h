#pragma once

#include <memory>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "flow/detail/changelog.h"
#include "flow/detail/place.h"

namespace millrace::flow {

/// Copies rows that a view set aside from the commits of its changelog to a topic of their own,
/// each once; those that expressions failed over to `<view>.dead_letter`, late ones to
/// `<view>.late`: a letter says which commit of which changelog it is of (a view and its
/// replacement write to the same topic), and after a crash the last one says where to go on. One
/// thread at a time, none of a shard's.
class ViewLetters {
 public:
  enum class Kind { kFailed, kLate };
  ViewLetters(broker::Broker& broker, const catalog::Object& view,
              std::shared_ptr<broker::Partition> changelog, Kind kind);

  /// Writes the letters that the changelog holds and their topic does not yet.
  Result<> recover();
  /// Makes the topic; before the first commit that has something for it is written.
  Result<> prepare();
  const std::string& topic() const { return topic_; }
  /// `commit`: the offset of the commit.
  Result<> write(Offset commit, TimestampMs clock, const std::vector<FailedRow>& failed);

 private:
  broker::Broker& broker_;
  const Kind kind_;
  const std::string view_;
  const std::string topic_;
  const std::string changelog_id_;
  const std::shared_ptr<broker::Partition> changelog_;
  std::shared_ptr<broker::Partition> letters_;
  Place last_;  // of the last letter
};

}  // namespace millrace::flow
