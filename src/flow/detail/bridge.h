#pragma once

#include <xxhash.h>

#include <boost/unordered/unordered_flat_map.hpp>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "flow/detail/changelog.h"

namespace millrace::flow {

/// The first commit at or after `from`. Errors: kCorruptRecord; as those of reading.
Result<std::optional<Commit>> find_commit(broker::Partition& changelog, Offset from);

/// Whether it ends a bridge. Its epochs are all that the replacement had computed, from where it
/// began, and last the bridge's own, which no input went into.
bool is_bridge(const Commit& commit);

/// The epoch by which a changelog goes on with another query: the rows that the replacement's
/// changelog gives less those that this one gives. It follows from the two logs alone, so that it
/// can be made again after a crash. Keeps some forty bytes for each row that the two do not share.
/// One thread, not a shard's.
class BridgeBuilder {
 public:
  BridgeBuilder(std::shared_ptr<broker::Partition> before, std::shared_ptr<broker::Partition> next);

  /// Takes in what the logs have got since the last call.
  Result<> advance();

  // As of the last advance().
  Offset at() const { return before_.read; }
  uint64_t epoch() const;
  bool takes_back() const;
  bool changes() const { return !rows_.empty(); }
  /// Columns, by number, of whose times the changelog has promised that no earlier one comes.
  const std::set<size_t>& bounded() const { return bounded_; }

  /// The epoch, for one append; both logs must be at their ends. Errors: kNotSupported, when it
  /// takes more than `bytes_max`.
  Result<std::string> bytes(size_t bytes_max);

 private:
  struct Log {
    std::shared_ptr<broker::Partition> partition;
    Offset read = 0;
    Epoch last = {};  // epoch that was read
  };
  struct Row {
    int64_t weight = 0;  // by which the replacement has more of it
    Offset at = 0;       // a record that has its text
    bool of_next = false;
  };
  struct Place {
    Offset at;
    int64_t weight;
  };
  struct Digest {
    XXH128_hash_t hash;
    bool operator==(const Digest& other) const { return XXH128_isEqual(hash, other.hash); }
    friend size_t hash_value(const Digest& digest) { return digest.hash.low64; }
  };

  Result<> advance(Log& log, int64_t sign);
  Result<> add(const log::RecordView& record, Log& log, int64_t sign);
  Result<> copy(broker::Partition& log, const std::vector<Place>& places, TimestampMs clock,
                size_t bytes_max, std::string& out) const;

  Log before_;
  Log next_;
  std::vector<EpochInputs> history_;  // of the replacement
  size_t shares_ = 1;
  std::set<size_t> bounded_;
  boost::unordered_flat_map<Digest, Row> rows_;
};

}  // namespace millrace::flow
