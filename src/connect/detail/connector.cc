#include "connect/detail/connector.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "catalog/connector.h"
#include "connect/detail/sink_run.h"
#include "connect/detail/source_run.h"

namespace millrace::connect {

namespace {

/// A connector that does not run looks after its group's offsets now and then.
constexpr auto kIdleTurn = std::chrono::minutes(30);

std::string text_of(const Error& error) {
  return error.text + (error.hint.empty() ? "" : " (" + error.hint + ")");
}

}  // namespace

Connector::Connector(const Connectors::Rooms& rooms, catalog::Object object, Result<Recipe> recipe)
    : rooms_(rooms),
      object_(std::move(object)),
      recipe_(std::move(recipe)),
      metrics_(rooms.env.metrics(), object_) {
  status_.name = object_.name;
  status_.kind = object_.kind;
  status_.connector = catalog::option_of(object_, catalog::kConnectorOption);
  status_.topic = catalog::option_of(object_, catalog::kTopicOption);
  status_.owner = object_.owner;
  status_.state = object_.options.contains(catalog::kPausedOption) ? "paused" : "starting";
  if (!recipe_) {
    status_.state = "failed";
    status_.error = text_of(recipe_.error());
    status_.error_at = rooms_.env.now_ms();
    status_.errors = 1;
    logging::error("a connector cannot start",
                   {{catalog::name_of(object_.kind), object_.name}, {"reason", *status_.error}});
  }
  if (!recipe_ || recipe_->polls) {
    thread_ = std::jthread([this] { main(); });
    return;
  }
  feed_ = std::make_unique<Feed>(rooms_, object_, *progress_, recipe_->format);
  progress_->set_open(true);
}

Connector::~Connector() { end(); }

void Connector::end() {
  progress_->stop();
  if (thread_.joinable()) thread_.join();
  report();  // what came since the last one; another may take its place
}

void Connector::main() {
  const bool runs = recipe_ && !object_.options.contains(catalog::kPausedOption);
  while (!runs && !progress_->stopping()) {
    if (object_.kind == catalog::Kind::kSink) SinkRun::renew(rooms_, object_);
    progress_->sleep(kIdleTurn);
  }
  uint64_t in_a_row = 0;
  while (!progress_->stopping()) {
    const auto before = progress_->rounds();
    set_state("starting");
    progress_->set_open(false);
    auto outcome = run_once();
    if (progress_->stopping()) break;
    in_a_row = progress_->rounds() == before ? in_a_row + 1 : 1;
    failed(outcome ? Error{ErrorCode::kInternal, "it ended"} : outcome.error(), in_a_row);
    std::lock_guard lock(mutex_);
    ++status_.restarts;
  }
}

Result<uint64_t> Connector::feed(std::string_view body) {
  if (!recipe_) return recipe_.error();
  if (!feed_) {
    return Error{ErrorCode::kNotSupported,
                 fmt::format("\"{}\" is no source that is fed", object_.name), std::nullopt,
                 "CREATE SOURCE ... FROM http without a url is."};
  }
  if (object_.options.contains(catalog::kPausedOption)) {
    return Error{ErrorCode::kThrottled, fmt::format("the source \"{}\" is paused", object_.name)};
  }
  auto put = feed_->put(body);
  if (put) return put;
  std::lock_guard lock(mutex_);
  status_.error = put.error().text;
  status_.error_at = rooms_.env.now_ms();
  ++status_.errors;
  return put;
}

Result<> Connector::run_once() {
  if (recipe_->source) {
    return SourceRun(rooms_, object_, *progress_, recipe_->source(*progress_)).run();
  }
  return SinkRun(rooms_, object_, progress_, recipe_->sink(*progress_), recipe_->from_latest).run();
}

void Connector::failed(const Error& error, uint64_t in_a_row) {
  const auto wait = recipe_->backoff.wait(in_a_row, rooms_.env.random());
  const auto until = rooms_.env.now_ms() + wait.count();
  {
    std::lock_guard lock(mutex_);
    status_.state = "waiting";
    status_.error = text_of(error);
    status_.error_at = rooms_.env.now_ms();
    status_.retry_at = until;
    ++status_.errors;
  }
  logging::warn("a connector has failed", {{catalog::name_of(object_.kind), object_.name},
                                           {"reason", error.text},
                                           {"retry_in_ms", wait.count()}});
  const auto end = std::chrono::steady_clock::now() + wait;
  while (!progress_->stopping()) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) break;
    progress_->sleep(left);
  }
}

void Connector::set_state(const char* state) {
  std::lock_guard lock(mutex_);
  status_.state = state;
  status_.retry_at = -1;
}

ConnectorStatus Connector::status() const {
  std::lock_guard lock(mutex_);
  auto status = status_;
  if (status.state == "starting" && progress_->open()) status.state = "running";
  status.records = progress_->records();
  status.bytes = progress_->bytes();
  status.lag = progress_->lag();
  return status;
}

std::optional<broker::TransformCounts> Connector::counts() const {
  const auto chain = progress_->chain();
  if (!chain) return std::nullopt;
  const auto counters = chain->counters();
  broker::TransformCounts out{counters};
  out.topic = object_.name;
  out.place = object_.transforms.front().place;
  out.steps = object_.transforms;
  out.paused = std::ranges::any_of(chain->options().steps,
                                   [](const auto& step) { return step.module->paused(); });
  out.record_errors = progress_->lost();
  return out;
}

}  // namespace millrace::connect
