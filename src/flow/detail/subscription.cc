#include "flow/detail/subscription.h"

#include <fmt/format.h>

#include <atomic>
#include <charconv>
#include <deque>
#include <mutex>

#include "catalog/replacement.h"
#include "flow/detail/changelog_reader.h"
#include "sql/format.h"

namespace millrace::flow {

namespace {

// How long the view of a query may take to catch up before its subscription is there: what changes
// then is sent, even if nothing was asked of the subscription yet.
constexpr auto kCatchUpWait = std::chrono::seconds(5);

/// What a listener of the changelog calls; outlives the subscription for as long as the listener
/// may be under way.
struct Waker {
  std::mutex mutex;
  std::function<void()> wake;
};

/// Where a reader stands: in which changelog, and the offset after an epoch.
struct Token {
  std::string log;
  Offset at = 0;

  std::string to_string() const { return fmt::format("{}.{}", log, at); }
  static std::optional<Token> parse(std::string_view text) {
    const auto dot = text.rfind('.');
    if (dot == std::string_view::npos) return std::nullopt;
    Token token{std::string(text.substr(0, dot)), 0};
    const auto end = text.data() + text.size();
    const auto [last, failed] = std::from_chars(text.data() + dot + 1, end, token.at);
    if (failed != std::errc() || last != end) return std::nullopt;
    return token;
  }
};

/// A view's rows as they stood at one moment, as parts of a snapshot.
class SnapshotRows {
 public:
  static Result<std::unique_ptr<SnapshotRows>> take(const View& view) {
    std::vector<std::string> names;
    for (const auto& column : view.object().columns) names.push_back(column.name);
    auto rows = std::make_unique<SnapshotRows>();
    rows->types_ = view.rows().types();
    std::vector<size_t> columns(rows->types_.size());
    for (size_t i = 0; i < columns.size(); ++i) columns[i] = i;
    MR_TRY(rows->json_, sql::JsonWriter::make(std::move(names), rows->types_));
    rows->scan_ = view.rows().scan(std::move(columns), &rows->end_);
    MR_TRY(rows->read_ahead());
    return rows;
  }

  const ChangelogEnd& end() const { return end_; }
  bool done() const { return next_->size() == 0; }
  Result<std::vector<sql::Changes::Row>> next() {
    std::vector<sql::Changes::Row> rows(next_->size());
    json_->begin(*next_);
    for (size_t i = 0; i < rows.size(); ++i) {
      rows[i].weight = 1;
      json_->write(i, rows[i].json);
    }
    MR_TRY(read_ahead());
    return rows;
  }

 private:
  Result<> read_ahead() {
    next_ = std::make_unique<duckdb::DataChunk>();
    next_->Initialize(duckdb::Allocator::DefaultAllocator(),
                      duckdb::vector<duckdb::LogicalType>(types_.begin(), types_.end()));
    return scan_->next(*next_);
  }

  std::vector<duckdb::LogicalType> types_;
  std::unique_ptr<sql::JsonWriter> json_;
  std::unique_ptr<sql::RelationScan> scan_;
  std::unique_ptr<duckdb::DataChunk> next_;
  ChangelogEnd end_;
};

class ViewSubscription : public sql::Subscription {
 public:
  ViewSubscription(SubscriptionSource source, sql::SubscribeOptions options)
      : source_(std::move(source)),
        options_(std::move(options)),
        log_(source_.topic->partitions.at(0)),
        name_(source_.topic->object.name),
        log_name_(catalog::changelog_id(source_.topic->object)) {}
  ~ViewSubscription() override { on_changes(nullptr); }

  Result<> open();
  Result<std::optional<sql::Changes>> next() override;
  void on_changes(std::function<void()> wake) override;

 private:
  /// The view while it writes the changelog that is read; null: it was dropped or replaced.
  std::shared_ptr<View> view() const;
  Result<> go_on_after(const std::string& token);
  Result<> begin();
  Result<bool> is_caught_up(const View& view);
  Result<> begin_snapshot(const View& view);
  Result<sql::Changes> snapshot_part();
  Result<std::optional<sql::Changes>> changes();
  Result<> read_log();
  Result<> check_view() const;
  Error gone() const;
  Error too_old() const;

  const SubscriptionSource source_;
  const sql::SubscribeOptions options_;
  const std::shared_ptr<broker::Partition> log_;
  const std::string name_, log_name_;
  std::string listener_;
  std::shared_ptr<Waker> waker_;

  std::optional<std::vector<std::vector<Offset>>> targets_;  // of caught_up
  bool reset_ = false;                                       // the snapshot to come is one
  std::unique_ptr<SnapshotRows> snapshot_;
  std::optional<ChangelogReader> reader_;  // once it is known where to begin
  std::deque<ReadEpochs> read_;
};

std::shared_ptr<View> ViewSubscription::view() const {
  auto running = source_.view();
  const bool same = running && catalog::changelog_id(running->object()) == log_name_ &&
                    running->object().columns == source_.topic->object.columns;
  return same ? std::move(running) : nullptr;
}

Error ViewSubscription::gone() const {
  return Error{ErrorCode::kUndefinedObject,
               fmt::format("view {} was dropped or replaced: the subscription ends", name_),
               std::nullopt, "Subscribe anew, WITH SNAPSHOT."};
}

Error ViewSubscription::too_old() const {
  return Error{ErrorCode::kOffsetOutOfRange,
               fmt::format("the changelog of {} no longer holds what comes next: it begins at {}",
                           name_, log_->start_offset()),
               std::nullopt, "Subscribe anew, WITH SNAPSHOT."};
}

Result<> ViewSubscription::open() {
  if (!options_.token.empty()) {
    auto found = go_on_after(options_.token);
    if (found || !options_.reset || !Token::parse(options_.token)) return found;
    reset_ = true;
  }
  return begin();
}

Result<> ViewSubscription::go_on_after(const std::string& text) {
  const auto token = Token::parse(text);
  if (!token)
    return Error{ErrorCode::kInvalidArgument, fmt::format("\"{}\" is not a resume token", text)};
  if (token->log != log_name_ || token->at > log_->high_watermark())
    return Error{
        ErrorCode::kInvalidArgument,
        fmt::format("the resume token \"{}\" is not of the view {} as it is now", text, name_),
        std::nullopt, "Subscribe anew, WITH SNAPSHOT."};
  if (token->at < log_->start_offset()) return too_old();
  if (token->at > log_->start_offset()) MR_TRY(check_is_end_of_epoch(*log_, token->at));
  reader_.emplace(log_, token->at);
  return {};
}

/// Begins where the view is now, or leaves it to a later call while the view is being recovered.
Result<> ViewSubscription::begin() {
  const auto view = this->view();
  if (!view) return gone();
  const bool waits = options_.caught_up && !targets_;
  auto ready = view->wait_recovered(Clock::now() + (waits ? kCatchUpWait : Clock::duration(0)));
  if (!ready && ready.error().code == ErrorCode::kCancelled) return {};
  MR_TRY(std::move(ready));
  if (options_.caught_up) {
    MR_TRY(const bool caught_up, is_caught_up(*view));
    if (!caught_up) return {};
  }
  if (options_.snapshot || reset_) return begin_snapshot(*view);
  ChangelogEnd end;
  view->rows().scan({}, &end);
  reader_.emplace(log_, end.until);
  return {};
}

Result<bool> ViewSubscription::is_caught_up(const View& view) {
  auto deadline = Clock::now();
  if (!targets_) {
    deadline += kCatchUpWait;
    targets_.emplace();
    for (const auto& source : view.sources()) {
      auto& marks = targets_->emplace_back();
      for (const auto& partition : source.source->topic().partitions)
        marks.push_back(partition->last_stable_offset());
    }
  }
  auto shown = view.wait_shown(*targets_, deadline);
  if (!shown && shown.error().code == ErrorCode::kCancelled) return false;
  MR_TRY(std::move(shown));
  return true;
}

Result<> ViewSubscription::begin_snapshot(const View& view) {
  MR_TRY(snapshot_, SnapshotRows::take(view));
  reader_.emplace(log_, snapshot_->end().until);
  return {};
}

Result<std::optional<sql::Changes>> ViewSubscription::next() {
  if (!reader_) MR_TRY(begin());
  if (!reader_) return std::optional<sql::Changes>();
  if (!snapshot_) return changes();
  MR_TRY(auto part, snapshot_part());
  return std::optional(std::move(part));
}

Result<sql::Changes> ViewSubscription::snapshot_part() {
  sql::Changes part;
  part.epoch = snapshot_->end().epoch;
  part.snapshot = true;
  part.reset = std::exchange(reset_, false);
  MR_TRY(part.rows, snapshot_->next());
  if (!snapshot_->done()) return part;
  part.token = Token{log_name_, snapshot_->end().until}.to_string();
  snapshot_.reset();
  return part;
}

Result<std::optional<sql::Changes>> ViewSubscription::changes() {
  if (read_.empty()) {
    auto done = read_log();
    if (!done && done.error().code == ErrorCode::kOffsetOutOfRange && options_.reset) {
      reader_.reset();
      reset_ = true;
      return next();
    }
    MR_TRY(std::move(done));
  }
  if (read_.empty()) return std::optional<sql::Changes>();
  sql::Changes changes;
  changes.epoch = read_.front().epoch;
  changes.rows = std::move(read_.front().rows);
  if (read_.front().until) changes.token = Token{log_name_, *read_.front().until}.to_string();
  read_.pop_front();
  return std::optional(std::move(changes));
}

Result<> ViewSubscription::read_log() {
  auto epochs = reader_->read();
  if (!epochs) {
    if (log_->closed()) return gone();
    if (epochs.error().code == ErrorCode::kOffsetOutOfRange) return too_old();
    return std::move(epochs).error();
  }
  read_.assign(std::make_move_iterator(epochs->begin()), std::make_move_iterator(epochs->end()));
  return read_.empty() ? check_view() : Result<>();
}

/// Why no more will come.
Result<> ViewSubscription::check_view() const {
  const auto view = this->view();
  if (log_->closed() || !view) return gone();
  auto runs = view->wait_recovered(Clock::now());
  // A view that is started anew is closed for a moment, and goes on with the same changelog.
  const bool passing = !runs && (runs.error().code == ErrorCode::kCancelled ||
                                 runs.error().code == ErrorCode::kUndefinedObject);
  return passing ? Result<>() : runs;
}

void ViewSubscription::on_changes(std::function<void()> wake) {
  static std::atomic<uint64_t> next_listener = 0;
  if (!wake && !waker_) return;
  if (!waker_) {
    waker_ = std::make_shared<Waker>();
    waker_->wake = std::move(wake);
    listener_ = fmt::format("subscription {}", next_listener++);
    log_->on_advance(listener_, [waker = waker_] {
      std::lock_guard lock(waker->mutex);
      if (waker->wake) waker->wake();
    });
    return;
  }
  std::lock_guard lock(waker_->mutex);
  waker_->wake = std::move(wake);
  if (waker_->wake) return;
  log_->on_advance(listener_, nullptr);
}

}  // namespace

Result<std::unique_ptr<sql::Subscription>> open_subscription(SubscriptionSource source,
                                                             sql::SubscribeOptions options) {
  auto subscription = std::make_unique<ViewSubscription>(std::move(source), std::move(options));
  MR_TRY(subscription->open());
  return std::unique_ptr<sql::Subscription>(std::move(subscription));
}

}  // namespace millrace::flow
