#include "pgwire/detail/machine.h"
#include "pgwire/detail/portal.h"
#include "pgwire/detail/types.h"

namespace millrace::pgwire::detail {

void Machine::run_local(const Local& local) {
  PortalPtr running = running_;  // keeps `local` alive
  std::visit([this](const auto& statement) { run(statement); }, local);
}

void Machine::run(const SetSetting& set) {
  if (set.to_default) {
    settings_.reset(set.name);
  } else {
    auto result = settings_.set(set.name, set.value);
    if (!result) return fail(result.error());
    if (!result->empty()) warn("01000", *result);
  }
  report_setting(set.name);
  complete(set.to_default ? "RESET" : "SET");
}

void Machine::run(const ShowSetting& show) {
  std::string key = duckdb::StringUtil::Lower(show.name);
  if (running_->describe) put_rows({show.name}, {duckdb::LogicalType::VARCHAR}, {});
  {
    Message row(output_, 'D');
    put<int16_t>(output_, 1);
    const std::string& value = settings_.get(key);
    put<int32_t>(output_, static_cast<int32_t>(value.size()));
    output_ += value;
  }
  complete(Settings::knows(key) ? "SHOW" : "SELECT 1");
}

void Machine::run(const ResetAll&) {
  settings_.reset_all();
  for (std::string_view name : {"application_name", "client_encoding"}) report_setting(name);
  complete("RESET");
}

void Machine::run(const Tagged& tagged) { complete(tagged.tag); }

void Machine::run(const DiscardAll&) {
  if (in_transaction()) return fail("25001", "DISCARD ALL cannot run inside a transaction block");
  portals_.clear();
  statements_.clear();
  settings_.reset_all();
  complete("DISCARD ALL");
}

void Machine::run(const Deallocate& deallocate) {
  if (deallocate.name.empty()) {
    statements_.clear();
    return complete("DEALLOCATE ALL");
  }
  if (statements_.erase(deallocate.name) == 0) {
    return fail("26000", fmt::format("prepared statement \"{}\" does not exist", deallocate.name));
  }
  complete("DEALLOCATE");
}

// ---- cursors

void Machine::declared(const DeclareCursor& cursor) {
  PortalPtr portal = running_;
  if (!cursor.hold && !in_transaction()) {
    return fail("25P01", "DECLARE CURSOR can only be used in transaction blocks");
  }
  if (portals_.contains(cursor.name)) {
    return fail("42P03", fmt::format("cursor \"{}\" already exists", cursor.name));
  }
  portal->hold = cursor.hold;
  portal->formats.clear();
  portals_[cursor.name] = portal;
  complete("DECLARE CURSOR");
}

void Machine::run(const FetchCursor& fetch) {
  auto found = portals_.find(fetch.name);
  if (found == portals_.end() || !found->second->started) {
    return fail("34000", fmt::format("cursor \"{}\" does not exist", fetch.name));
  }
  bool describe = running_->describe;
  std::vector<Format> formats = running_->formats;
  running_ = found->second;
  limit_ = fetch.count;
  tag_ = fetch.move ? "MOVE" : "FETCH";
  if (fetch.timeout) fetch_until_ = std::chrono::steady_clock::now() + *fetch.timeout;
  discard_rows_ = fetch.move;
  if (running_->formats != formats) {
    running_->formats = formats;
    running_->rows.reset();
    running_->encoding = false;
  }
  const sql::Statement& statement = *running_->prepared->statement;
  if (describe && !fetch.move) put_rows(statement.names(), statement.types(), {});
  phase_ = Phase::kStreaming;
}

void Machine::run(const CloseCursor& close) {
  if (close.name.empty()) {
    portals_.clear();
    return complete("CLOSE CURSOR ALL");
  }
  auto found = portals_.find(close.name);
  if (found == portals_.end()) {
    return fail("34000", fmt::format("cursor \"{}\" does not exist", close.name));
  }
  portals_.erase(found);
  complete("CLOSE CURSOR");
}

// ---- transactions

void Machine::run(Transaction transaction) {
  bool failed = failed_ || state_ == sql::TransactionState::kFailed;
  bool commit = transaction == Transaction::kCommit && !failed;
  std::string_view tag = transaction == Transaction::kBegin ? "BEGIN"
                         : commit                           ? "COMMIT"
                                                            : "ROLLBACK";
  if (transaction == Transaction::kBegin && in_transaction()) {
    warn("25001", "there is already a transaction in progress");
    return complete(tag);
  }
  if (transaction != Transaction::kBegin && !in_transaction()) {
    warn("25P01", "there is no transaction in progress");
    return complete(tag);
  }
  // The engine's statement is not the client's own text: a passing portal runs it.
  tag_ = tag;
  preparing_.reset();
  ask(Prepare{transaction == Transaction::kBegin ? "BEGIN TRANSACTION" : std::string(tag), {}});
}

void Machine::transaction_prepared(std::unique_ptr<sql::Statement> statement) {
  auto prepared = std::make_shared<Prepared>();
  prepared->statement = std::move(statement);
  running_ = std::make_shared<Portal>();
  running_->prepared = std::move(prepared);
  running_->started = true;
  limit_ = UINT64_MAX;
  discard_rows_ = true;
  ask(Execute{running_->prepared->statement.get(), {}});
}

// ---- COPY

void Machine::copy_out_started(const CopyToStdout& copy) {
  const sql::Statement& statement = *running_->prepared->statement;
  bool binary = copy.options.format == CopyFormat::kBinary;
  {
    Message response(output_, 'H');
    output_ += binary ? '\1' : '\0';
    put<int16_t>(output_, static_cast<int16_t>(statement.names().size()));
    for (size_t i = 0; i < statement.names().size(); i++) put<int16_t>(output_, binary ? 1 : 0);
  }
  copy_out_.emplace(copy.options, statement.types());
  copy_out_->start(statement.names(), output_);
}

void Machine::run(const CopyFromStdin& copy) {
  CopyOptions plain;
  plain.format = copy.options.format;
  if (plain.format == CopyFormat::kCsv) {
    plain.delimiter = ',';
    plain.null = "";
  }
  const CopyOptions& asked = copy.options;
  if (plain.format == CopyFormat::kBinary) {
    return fail("0A000", "COPY FROM STDIN takes the formats text and csv");
  }
  if (asked.delimiter != plain.delimiter || asked.null != plain.null ||
      asked.quote != plain.quote || asked.escape != plain.escape) {
    return fail("0A000",
                "COPY FROM STDIN takes no other DELIMITER, NULL, QUOTE or ESCAPE than the "
                "format's own");
  }
  copy_in_ = copy;
  copy_data_.clear();
  phase_ = Phase::kCopyIn;
  Message response(output_, 'G');
  output_ += '\0';
  put<int16_t>(output_, static_cast<int16_t>(copy.columns.size()));
  for (size_t i = 0; i < copy.columns.size(); i++) put<int16_t>(output_, 0);
}

void Machine::copy_in_frame(const Frames::Frame& frame) {
  switch (frame.type) {
    case 'd':
      if (copy_data_.size() + frame.body.size() > kCopyBytesMax) {
        return fail("54000", fmt::format("COPY takes at most {} MiB at once; send it in parts",
                                         kCopyBytesMax >> 20));
      }
      copy_data_ += frame.body;
      return;
    case 'c':
      return ask(CopyIn{std::move(*copy_in_), std::exchange(copy_data_, {})});
    case 'f':
      return fail("57014", fmt::format("COPY from stdin failed: {}", Reader(frame.body).text()));
    case 'H':
    case 'S':
      return;
    default:
      return fatal("08P01", fmt::format("unexpected message type {} during COPY from stdin",
                                        static_cast<int>(frame.type)));
  }
}

void Machine::copied(Result<uint64_t> result) {
  phase_ = Phase::kMessages;
  copy_in_.reset();
  if (!result) return fail(result.error());
  complete(fmt::format("COPY {}", *result));
}

}  // namespace millrace::pgwire::detail
