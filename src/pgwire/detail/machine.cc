#include "pgwire/detail/machine.h"

#include "pgwire/detail/portal.h"
#include "pgwire/detail/types.h"

namespace millrace::pgwire::detail {
namespace {

constexpr int32_t kVersion3 = 3 << 16;
constexpr int32_t kCancelRequest = 80877102, kSslRequest = 80877103, kGssRequest = 80877104;

/// Positions count characters from 1, ours bytes from 0.
size_t character_position(std::string_view text, size_t byte) {
  size_t characters = 1;
  for (char c : text.substr(0, std::min(byte, text.size()))) {
    if ((c & 0xC0) != 0x80) characters++;
  }
  return characters;
}

/// "-c name=value -c name=value", as the startup parameter `options` has it.
void read_options(std::string_view options, Settings& settings) {
  while (!options.empty()) {
    size_t end = std::min(options.find(' '), options.size());
    std::string_view word = options.substr(0, end);
    options.remove_prefix(std::min(end + 1, options.size()));
    if (word.starts_with("-c")) word.remove_prefix(2);
    if (word.starts_with("--")) word.remove_prefix(2);
    size_t equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    settings.set_leniently(word.substr(0, equals), word.substr(equals + 1));
  }
}

}  // namespace

Machine::Machine(Setup setup) : setup_(std::move(setup)), settings_(setup_.server_version, "") {}
Machine::~Machine() = default;

Step Machine::next() {
  while (!asked_) {
    if (output_.size() >= kOutputBytes && phase_ != Phase::kEnded) return Write{};
    switch (phase_) {
      case Phase::kStartup:
        startup();
        break;
      case Phase::kLogin:
        login();
        break;
      case Phase::kMessages:
      case Phase::kCopyIn:
        if (simple_ && phase_ == Phase::kMessages) {
          next_simple_statement();
        } else {
          message();
        }
        break;
      case Phase::kStreaming:
        stream();
        break;
      case Phase::kAsked:
      case Phase::kDraining:
        MR_CHECK(!"asked twice without an answer");
        break;
      case Phase::kEnded:
        return Close{close_reason_};
    }
  }
  return *std::exchange(asked_, std::nullopt);
}

// ---- startup

void Machine::startup() {
  auto frame = frames_.next(true);
  if (!frame) return fatal("08P01", frame.error().text);
  if (!*frame) {
    asked_ = Read{};
    return;
  }
  startup_packet(Reader((*frame)->body));
}

void Machine::startup_packet(Reader reader) {
  auto code = reader.integer<int32_t>();
  switch (code) {
    case kSslRequest:
      if (std::exchange(ssl_asked_, true)) return fatal("08P01", "SSLRequest twice");
      output_ += 'N';
      return;
    case kGssRequest:
      if (std::exchange(gss_asked_, true)) return fatal("08P01", "GSSENCRequest twice");
      output_ += 'N';
      return;
    case kCancelRequest: {
      auto process = reader.integer<int32_t>();
      auto secret = reader.integer<int32_t>();
      if (!reader.done()) return fatal("08P01", "malformed cancel request");
      asked_ = Cancel{process, secret};
      phase_ = Phase::kEnded;
      return;
    }
    default:
      return startup_message(code, reader);
  }
}

void Machine::startup_message(int32_t version, Reader& reader) {
  if (version >> 16 != 3) {
    return fatal("0A000", fmt::format("unsupported frontend protocol {}.{}: server supports 3.0",
                                      version >> 16, version & 0xffff));
  }
  std::map<std::string, std::string> parameters;
  std::vector<std::string> strange;
  while (true) {
    std::string name(reader.text());
    if (!reader.ok()) return fatal("08P01", "malformed startup message");
    if (name.empty()) break;
    if (name.starts_with("_pq_.")) strange.push_back(name);
    parameters[name] = reader.text();
  }
  if (!reader.done()) return fatal("08P01", "malformed startup message");
  std::string user = parameters["user"];
  if (user.empty()) return fatal("28000", "no PostgreSQL user name specified in startup packet");
  std::string database = parameters["database"].empty() ? user : parameters["database"];
  if (version > kVersion3 || !strange.empty()) {
    Message negotiate(output_, 'v');
    put<int32_t>(output_, kVersion3);
    put<int32_t>(output_, static_cast<int32_t>(strange.size()));
    for (const std::string& name : strange) put_text(output_, name);
  }
  settings_ = Settings(setup_.server_version, user);
  for (const auto& [name, value] : parameters) {
    if (name == "options") {
      read_options(value, settings_);
    } else {
      settings_.set_leniently(name, value);
    }
  }
  who_ = Connect{user, database};
  auto verifier = setup_.verifier_of ? setup_.verifier_of(user) : std::nullopt;
  if (verifier) return ask_for_password(std::move(*verifier));
  asked_ = who_;
  phase_ = Phase::kAsked;
}

void Machine::report_setting(std::string_view name) {
  std::string_view reported = Settings::reported_as(name);
  if (reported.empty()) return;
  Message message(output_, 'S');
  put_text(output_, reported);
  put_text(output_, settings_.get(name));
}

void Machine::connected(Result<> result) {
  if (!result) {
    return fatal(info(result.error().code).sqlstate, result.error().text);
  }
  {
    Message authentication_ok(output_, 'R');
    put<int32_t>(output_, 0);
  }
  for (std::string_view name : Settings::reported()) report_setting(name);
  {
    Message key(output_, 'K');
    put<int32_t>(output_, setup_.process);
    put<int32_t>(output_, setup_.secret);
  }
  ready_for_query();
}

// ---- messages

void Machine::message() {
  auto frame = frames_.next(false);
  if (!frame) return fatal("08P01", frame.error().text);
  if (!*frame) {
    asked_ = Read{};
    return;
  }
  dispatch(**frame);
}

void Machine::dispatch(const Frames::Frame& frame) {
  Reader reader(frame.body);
  if (frame.type == 'X') {
    phase_ = Phase::kEnded;
    return;
  }
  if (phase_ == Phase::kCopyIn) return copy_in_frame(frame);
  if (skipping_ && frame.type != 'S') return;
  switch (frame.type) {
    case 'Q':
      return query(reader);
    case 'P':
      return parse(reader);
    case 'B':
      return bind(reader);
    case 'D':
      return describe(reader);
    case 'E':
      return execute(reader);
    case 'C':
      return close(reader);
    case 'S':
      return sync();
    case 'H':  // Flush: output is written whenever we wait for input
    case 'd':
    case 'c':
    case 'f':  // of a COPY that has failed
      return;
    case 'F':
      simple_ = true;  // is answered with ReadyForQuery, as a simple query
      return fail("0A000", "function calls are not supported; use SELECT");
    default:
      return fatal("08P01", "a password message was not asked for");
  }
}

void Machine::query(Reader& reader) {
  std::string_view script = reader.text();
  if (!reader.done()) return fatal("08P01", "malformed Query message");
  // The simple protocol takes the place of the unnamed statement and portal.
  statements_.erase("");
  portals_.erase("");
  simple_ = true;
  script_ = script;
  preparing_.reset();
  running_.reset();
  // Parsing needs no connection, so an open cursor may stay open.
  asked_ = Split{script_};
  phase_ = Phase::kAsked;
}

void Machine::split(Result<std::vector<std::string>> result) {
  phase_ = Phase::kMessages;
  if (!result) return fail(result.error());
  queue_.clear();
  size_t from = 0;
  for (std::string& statement : *result) {
    size_t at = script_.find(statement, from);
    if (at == std::string::npos) at = from;
    from = std::min(at + statement.size(), script_.size());
    queue_.emplace_back(std::move(statement), at);
  }
  if (!queue_.empty()) return;
  Message empty(output_, 'I');
}

void Machine::next_simple_statement() {
  if (queue_.empty()) return ready_for_query();
  running_.reset();
  auto prepared = std::make_shared<Prepared>();
  std::tie(prepared->sql, prepared->place) = std::move(queue_.front());
  queue_.pop_front();
  preparing_ = prepared;
  auto local = classify(prepared->sql);
  if (!local) return fail(local.error());
  if (refused(*local)) return;
  prepared->local = std::move(*local);
  prepare(std::move(prepared), {});
}

void Machine::sync() {
  skipping_ = false;
  ready_for_query();
}

void Machine::ready_for_query() {
  if (!in_transaction()) {
    std::erase_if(portals_, [](const auto& entry) { return !entry.second->hold; });
    failed_ = false;
  }
  simple_ = false;
  preparing_.reset();
  running_.reset();
  phase_ = Phase::kMessages;
  Message ready(output_, 'Z');
  bool failed = failed_ || state_ == sql::TransactionState::kFailed;
  output_ += failed ? 'E' : in_transaction() ? 'T' : 'I';
}

void Machine::set_transaction_state(sql::TransactionState state) {
  state_ = state;
  if (!in_transaction()) failed_ = false;
}

// ---- what goes wrong

void Machine::fail(const Error& error) {
  Report report{"ERROR", info(error.code).sqlstate, error.text, error.hint, std::nullopt};
  const Prepared* at = preparing_ ? preparing_.get()
                       : running_ ? running_->prepared.get()
                                  : nullptr;
  if (error.position && at) {
    size_t byte = *error.position + (simple_ ? at->place : 0);
    report.position = character_position(simple_ ? script_ : at->sql, byte);
  }
  failed(report);
}

void Machine::fail(std::string_view sqlstate, std::string_view text) {
  failed(Report{"ERROR", sqlstate, text});
}

void Machine::failed(const Report& report) {
  put_report(output_, 'E', report);
  counts_.errors++;
  if (in_transaction()) failed_ = true;
  if (running_) running_->stop();
  preparing_.reset();
  running_.reset();
  copy_out_.reset();
  copy_in_.reset();
  copy_data_ = {};
  after_drain_.reset();
  phase_ = Phase::kMessages;
  if (simple_) {
    queue_.clear();  // what follows in the script is not run
  } else {
    skipping_ = true;
  }
}

void Machine::warn(std::string_view sqlstate, std::string_view text) {
  put_report(output_, 'N', Report{"WARNING", sqlstate, text});
}

void Machine::fatal(std::string_view sqlstate, std::string_view text) {
  put_report(output_, 'E', Report{"FATAL", sqlstate, text});
  counts_.errors++;
  close_reason_ = text;
  phase_ = Phase::kEnded;
}

void Machine::end(const Error& error) {
  asked_.reset();
  fatal(info(error.code).sqlstate, error.text);
}

bool Machine::refused(const std::optional<Local>& local) {
  if (!failed_ && state_ != sql::TransactionState::kFailed) return false;
  const Transaction* end = local ? std::get_if<Transaction>(&*local) : nullptr;
  if (end && *end != Transaction::kBegin) return false;
  fail("25P02", "current transaction is aborted, commands ignored until end of transaction block");
  return true;
}

}  // namespace millrace::pgwire::detail
