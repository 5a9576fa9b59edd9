#pragma once

#include <duckdb.hpp>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "catalog/catalog.h"
#include "flow/detail/delta.h"
#include "flow/status.h"
#include "sql/engine.h"

namespace millrace::flow {

/// The moment that an epoch computes. Written down at commit, so that a replay sees the same.
struct Epoch {
  uint64_t number = 0;
  int64_t clock_us = 0;  // what now() is, microseconds since the epoch
};

class StateReader;
class StateWriter;

/// Rows that an operator left out because they came too late, as it got them.
struct LateRows {
  std::vector<std::string> names;
  std::shared_ptr<const Delta> rows;
};

/// One node of a dataflow. Owns the state it needs to answer a delta with a delta. One thread.
class Operator {
 public:
  virtual ~Operator() = default;
  /// `inputs[i]` is what child i's edge carries in this epoch (it may be empty); appends what
  /// changes to `out`, and sets its frontiers. Rows that an expression fails over are left out, and
  /// told in out.errors; other errors fail the epoch as a whole.
  virtual Result<> step(const Epoch& epoch, std::span<const DeltaStream* const> inputs,
                        DeltaStream& out) = 0;
  virtual size_t state_rows() const { return 0; }
  virtual size_t state_bytes() const { return 0; }
  /// Rows that came after their window had closed and were left out.
  virtual uint64_t late_rows() const { return 0; }
  /// Moves those of the last steps to the end of `out`.
  virtual void take_late(std::vector<LateRows>&) {}
  /// Whether save() gives all its state. When one operator cannot, the view has no snapshots and
  /// recovers by computing its epochs again.
  virtual bool can_save() const { return false; }
  /// Its state between two epochs, exactly: an operator that has loaded it answers every later
  /// epoch, to the byte, as this one will. (detail/state_stream.h; begin() with a name and a
  /// version.) All of it at once; of an operator that has more than a little, what is little.
  virtual void save(StateWriter&) const {}
  /// From now on save_some() writes the state as it is now, whatever is stepped meanwhile. Between
  /// two epochs; what was frozen before is forgotten. As it stands here it keeps what save() gives:
  /// operators with much state write the rest themselves, a part at a time.
  virtual void freeze();
  /// Writes about `bytes` more. True when all is written, and from then on.
  virtual bool save_some(StateWriter& out, size_t bytes);
  /// Into an operator that was just made, of the same query. Errors: kCorruptRecord; it is only
  /// destroyed then.
  virtual Result<> load(StateReader&) { return {}; }
  /// Whether its output has the columns of its input.
  virtual bool keeps_columns() const { return false; }
  /// Holds what a later frontier closes or lets go.
  virtual bool waits_for_frontier() const { return false; }
  /// The epoch's clock from which it has something to put out though no row comes.
  virtual std::optional<int64_t> next_turn_us() const { return std::nullopt; }
  /// As EXPLAIN shows it.
  virtual std::string describe() const = 0;

 private:
  std::string frozen_;
};

/// An operator that keeps nothing from one epoch to the next.
class StatelessOperator : public Operator {
 public:
  bool can_save() const final { return true; }
};

/// A view's query as incremental operators. One thread at a time.
class Dataflow {
 public:
  /// One scan of a relation in the query; the same relation read twice is two inputs.
  struct Input {
    catalog::Object object;
    // Indexes into Relation::columns(), or fields inside (sql::field_column), in the edge's order.
    std::vector<size_t> columns;
    std::vector<duckdb::LogicalType> types;
    bool append_only = false;  // a topic: rows are never retracted
  };

  virtual ~Dataflow() = default;
  virtual const std::vector<Input>& inputs() const = 0;
  virtual const std::vector<std::string>& names() const = 0;
  virtual const std::vector<duckdb::LogicalType>& types() const = 0;
  /// True when no row of the output is ever retracted.
  virtual bool append_only() const = 0;
  /// What first takes rows back, as EXPLAIN shows it; empty when nothing does.
  virtual std::string retracts() const = 0;
  /// Advances by one epoch: `inputs[i]` for inputs()[i]. `out` is consolidated: no row stands in it
  /// with both signs. After an error the dataflow is broken and only destroyed.
  virtual Result<> step(const Epoch& epoch, std::span<const DeltaStream> inputs,
                        DeltaStream& out) = 0;
  virtual size_t state_bytes() const = 0;
  virtual uint64_t late_rows() const = 0;
  virtual void take_late(std::vector<LateRows>& out) = 0;
  /// As Operator's, of all of them.
  virtual bool can_save() const = 0;
  virtual void freeze() = 0;
  virtual bool save_some(StateWriter& out, size_t bytes) = 0;
  virtual Result<> load(StateReader& in) = 0;
  /// The operators and what they have done.
  virtual std::vector<OperatorStatus> operators() const = 0;
  /// As the operators', of all of them.
  virtual bool waits_for_frontier() const = 0;
  virtual std::optional<int64_t> next_turn_us() const = 0;
  /// The operators, indented, one a line.
  virtual std::string describe() const = 0;
};

/// When a view's rows come out: with every change; or once, when the watermark has passed them.
enum class Emit { kChanges, kOnWindowClose };

/// Turns a planned query into a dataflow. Errors: kNotSupported, naming the plan node or function
/// that cannot be maintained.
Result<std::unique_ptr<Dataflow>> translate(sql::PlannedQuery query, Emit emit = Emit::kChanges);

}  // namespace millrace::flow
