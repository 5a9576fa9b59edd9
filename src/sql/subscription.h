#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace millrace::sql {

struct SubscribeOptions {
  bool snapshot = false;   // the rows as they are come first
  std::string token = {};  // go on after what it stands for; empty: with what changes from now on
  /// A token that nothing can go on from gives the rows as they are, marked as a reset, instead of
  /// an error.
  bool reset = false;
  /// Begin when the view has taken in what its inputs hold at this time.
  bool caught_up = false;
};

/// What has come and gone in a view: all of an epoch, a part of one, or several at once.
struct Changes {
  struct Row {
    int64_t weight;    // how often it came (+) or went (-)
    std::string json;  // an object of the view's columns, as its changelog has it
  };
  uint64_t epoch = 0;     // the view's rows are those of this epoch once all of it is here
  bool snapshot = false;  // rows as they stand, not changes
  bool reset = false;     // everything sent before does not count: a snapshot follows
  std::vector<Row> rows;
  std::string token;  // go on after these; empty: more of the epoch follows
};

/// A reader of a view's changes, at its own pace: it is a position in the changelog, and holds no
/// rows of its own. One thread at a time.
class Subscription {
 public:
  virtual ~Subscription() = default;
  /// What comes next; nothing when nothing has changed. Reads the log, and waits for no change.
  /// Errors: kUndefinedObject when the view was dropped or replaced, kOffsetOutOfRange when its
  /// changelog no longer holds what comes next, and why the view has stopped.
  virtual Result<std::optional<Changes>> next() = 0;
  /// `wake` is called, on any thread, when next() may have changes; null ends that. What ends a
  /// subscription need not wake: ask again each second.
  virtual void on_changes(std::function<void()> wake) = 0;
};

}  // namespace millrace::sql
