#include "sql/detail/subscribe.h"

#include <fmt/format.h>

#include <deque>

#include "base/logging.h"
#include "log/record_batch.h"
#include "sql/format.h"
#include "sql/subscription.h"
#include "sql/temporary_view.h"

namespace millrace::sql {
namespace {

using catalog::Kind;

constexpr std::string_view kTemporaryPrefix = "__subscription_";

Result<> parse_query(std::string_view sql, TokenReader& reader, SubscribeTo& subscribe) {
  subscribe.begin = reader.peek().begin;
  for (int depth = 1;;) {
    if (reader.at_end()) return reader.unexpected("expected \")\" after the query");
    const auto& token = reader.take();
    if (token.is_symbol('(')) ++depth;
    if (!token.is_symbol(')') || --depth > 0) continue;
    subscribe.query = sql.substr(subscribe.begin, token.begin - subscribe.begin);
    if (subscribe.query.find_first_not_of(" \t\r\n") == std::string::npos)
      return Error{ErrorCode::kSyntax, "expected a query", token.begin};
    return {};
  }
}

Result<> parse_option(TokenReader& reader, SubscribeTo& subscribe) {
  if (reader.take_word("snapshot"))
    subscribe.snapshot = true;
  else if (reader.take_word("progress"))
    subscribe.progress = true;
  else
    return reader.unexpected("SUBSCRIBE takes WITH SNAPSHOT and WITH PROGRESS");
  return {};
}

/// The catalog's entry of a temporary view, which goes when this does.
class TemporaryView {
 public:
  static Result<std::unique_ptr<TemporaryView>> make(Core& core, Definitions& definitions,
                                                     const std::string& query, size_t begin) {
    CreateObject create;
    create.object.kind = Kind::kMaterializedView;
    create.object.name = temporary_view_name();
    create.object.query = query;
    create.object.internal = true;
    create.object.options["on_error"] = "skip";  // dead letters would outlive it
    create.query_begin = begin;
    create.query_end = begin + query.size();
    // Positions of errors count from the start of the client's statement.
    MR_TRY(definitions.create(create, std::string(begin, ' ') + query, false));
    auto view = std::make_unique<TemporaryView>(definitions, create.object.name);
    const auto* object = core.catalog.snapshot()->find(create.object.name);
    if (!object) return Error{ErrorCode::kShuttingDown, "the node is stopping"};
    view->object_ = *object;
    return view;
  }
  TemporaryView(Definitions& definitions, std::string name)
      : definitions_(definitions), name_(std::move(name)) {}
  ~TemporaryView() {
    DropObject drop;
    drop.kind = Kind::kMaterializedView;
    drop.name = name_;
    drop.if_exists = true;
    if (auto dropped = definitions_.drop(drop); !dropped)
      logging::warn("the view of a subscription stays until the node starts again",
                    {{"view", name_}, {"reason", dropped.error().text}});
  }
  TemporaryView(const TemporaryView&) = delete;
  TemporaryView& operator=(const TemporaryView&) = delete;

  const catalog::Object& object() const { return object_; }

 private:
  Definitions& definitions_;
  const std::string name_;
  catalog::Object object_;
};

/// Changes as rows of a result.
class SubscribeCursor : public Cursor {
 public:
  struct Parts {
    std::unique_ptr<TemporaryView> view;  // of a query; goes after its subscription
    std::unique_ptr<Subscription> subscription;
    std::unique_ptr<Decoder> decoder;  // the view's columns
    bool progress = false;
  };
  explicit SubscribeCursor(Parts parts) : parts_(std::move(parts)) {
    using Type = duckdb::LogicalType;
    types_ = {Type::BIGINT, Type::BIGINT};
    if (parts_.progress) types_.push_back(Type::VARCHAR);
    first_ = types_.size();
    for (const auto& type : parts_.decoder->types()) types_.push_back(type);
  }

  bool endless() const override { return true; }
  void on_rows(std::function<void()> wake) override {
    parts_.subscription->on_changes(std::move(wake));
  }
  std::string tag() const override { return "SUBSCRIBE"; }

  Result<duckdb::unique_ptr<duckdb::DataChunk>> fetch() override {
    while (ready_.empty()) {
      MR_TRY(auto changes, parts_.subscription->next());
      if (!changes) {
        auto nothing = duckdb::make_uniq<duckdb::DataChunk>();
        nothing->Initialize(duckdb::Allocator::DefaultAllocator(), types_);
        return nothing;
      }
      MR_TRY(add_rows(*changes));
      if (parts_.progress && !changes->token.empty()) add_progress(*changes);
    }
    auto chunk = std::move(ready_.front());
    ready_.pop_front();
    return chunk;
  }

 private:
  Result<> add_rows(const Changes& changes) {
    if (changes.rows.empty()) return {};
    log::BatchBuilder batch;
    for (const auto& row : changes.rows) batch.add(0, std::nullopt, row.json);
    size_t at = 0;
    duckdb::DataChunk decoded;
    const auto& types = parts_.decoder->types();
    const duckdb::vector<duckdb::LogicalType> row_types(types.begin(), types.end());
    decoded.Initialize(duckdb::Allocator::DefaultAllocator(), row_types);
    const std::function<void(duckdb::DataChunk&)> take = [&](duckdb::DataChunk& rows) {
      add_chunk(changes, at, rows);
      at += rows.size();
      rows.Reset();
    };
    std::vector<BadRecord> bad;
    const auto count = static_cast<Offset>(changes.rows.size());
    MR_TRY(parts_.decoder->decode(batch.finish(), 0, 0, count, decoded, take, &bad));
    if (decoded.size() > 0) take(decoded);
    if (bad.empty() && at == changes.rows.size()) return {};
    return Error{ErrorCode::kCorruptRecord,
                 fmt::format("epoch {} holds what is no row of the view: {}", changes.epoch,
                             bad.empty() ? "a record without a value" : bad[0].reason)};
  }

  void add_chunk(const Changes& changes, size_t at, duckdb::DataChunk& rows) {
    auto chunk = duckdb::make_uniq<duckdb::DataChunk>();
    chunk->Initialize(duckdb::Allocator::DefaultAllocator(), types_);
    auto* epochs = duckdb::FlatVector::GetData<int64_t>(chunk->data[0]);
    auto* weights = duckdb::FlatVector::GetData<int64_t>(chunk->data[1]);
    for (size_t i = 0; i < rows.size(); ++i) {
      epochs[i] = static_cast<int64_t>(changes.epoch);
      weights[i] = changes.rows[at + i].weight;
      if (parts_.progress) duckdb::FlatVector::SetNull(chunk->data[2], i, true);
    }
    for (size_t i = 0; i < rows.ColumnCount(); ++i)
      duckdb::VectorOperations::Copy(rows.data[i], chunk->data[first_ + i], rows.size(), 0, 0);
    chunk->SetCardinality(rows.size());
    ready_.push_back(std::move(chunk));
  }

  void add_progress(const Changes& changes) {
    auto chunk = duckdb::make_uniq<duckdb::DataChunk>();
    chunk->Initialize(duckdb::Allocator::DefaultAllocator(), types_);
    for (size_t i = 0; i < types_.size(); ++i) chunk->SetValue(i, 0, duckdb::Value(types_[i]));
    chunk->SetValue(0, 0, duckdb::Value::BIGINT(static_cast<int64_t>(changes.epoch)));
    chunk->SetValue(2, 0, duckdb::Value(changes.token));
    chunk->SetCardinality(1);
    ready_.push_back(std::move(chunk));
  }

  Parts parts_;
  duckdb::vector<duckdb::LogicalType> types_;
  size_t first_;  // column of the rows
  std::deque<duckdb::unique_ptr<duckdb::DataChunk>> ready_;
};

}  // namespace

bool is_temporary_view(const catalog::Object& object) {
  return object.kind == Kind::kMaterializedView && object.internal &&
         object.name.starts_with(kTemporaryPrefix);
}

std::string temporary_view_name() {
  return std::string(kTemporaryPrefix) + Uuid::random().to_string();
}

Result<SubscribeTo> parse_subscribe(std::string_view sql, TokenReader& reader) {
  SubscribeTo subscribe;
  reader.take_word("to");
  if (reader.take_symbol('(')) {
    MR_TRY(parse_query(sql, reader, subscribe));
  } else {
    MR_TRY(auto name, reader.name());
    subscribe.name = std::move(name.text);
    subscribe.begin = name.begin;
  }
  for (;;) {
    if (reader.peek().is("after")) {
      subscribe.after_begin = reader.take().begin;
      if (reader.peek().kind != Token::Kind::kString)
        return reader.unexpected("expected a resume token in quotes");
      subscribe.token = reader.take().text;
    } else if (reader.take_word("with")) {
      const bool list = reader.take_symbol('(');
      do {
        MR_TRY(parse_option(reader, subscribe));
      } while (list && reader.take_symbol(','));
      if (list) MR_TRY(reader.expect_symbol(')'));
    } else {
      break;
    }
  }
  MR_TRY(reader.expect_end());
  if (subscribe.snapshot && !subscribe.token.empty())
    return Error{ErrorCode::kSyntax, "WITH SNAPSHOT and AFTER exclude each other",
                 subscribe.after_begin, "A subscription begins with the rows, or after a token."};
  return subscribe;
}

const catalog::Object* Subscriber::view(const catalog::Snapshot& snapshot,
                                        const SubscribeTo& subscribe) const {
  const auto* object = subscribe.name.empty() ? nullptr : snapshot.find(subscribe.name);
  return object && object->kind == Kind::kMaterializedView ? object : nullptr;
}

/// What the temporary view computes: the query, or all of a topic, table or plain view.
Result<std::string> Subscriber::query_of(const SubscribeTo& subscribe) const {
  if (!subscribe.token.empty())
    return Error{ErrorCode::kNotSupported, "only a materialized view can be subscribed to AFTER",
                 subscribe.after_begin,
                 "What is kept for one subscription goes with it: name a materialized view."};
  if (subscribe.name.empty()) return subscribe.query;
  const auto* object = core_.catalog.snapshot()->find(subscribe.name);
  if (!object)
    return Error{ErrorCode::kUndefinedObject, fmt::format("\"{}\" does not exist", subscribe.name),
                 subscribe.begin};
  return "SELECT * FROM " + quoted(object->name);
}

Result<Listing> Subscriber::shape(const SubscribeTo& subscribe) {
  Listing listing;
  listing.names = {"epoch", "weight"};
  listing.types = {duckdb::LogicalType::BIGINT, duckdb::LogicalType::BIGINT};
  if (subscribe.progress) {
    listing.names.push_back("token");
    listing.types.push_back(duckdb::LogicalType::VARCHAR);
  }
  const auto snapshot = core_.catalog.snapshot();
  if (const auto* object = view(*snapshot, subscribe)) {
    MR_TRY(auto columns, columns_of(*object));
    for (auto& column : columns) {
      if (column.hidden) continue;
      listing.names.push_back(column.name);
      listing.types.push_back(column.type);
    }
    return listing;
  }
  MR_TRY(const auto query, query_of(subscribe));
  MR_TRY(auto checked, planner_.check(std::string(subscribe.begin, ' ') + query));
  listing.names.insert(listing.names.end(), checked.names.begin(), checked.names.end());
  listing.types.insert(listing.types.end(), checked.types.begin(), checked.types.end());
  return listing;
}

Result<std::unique_ptr<Cursor>> Subscriber::open(const SubscribeTo& subscribe) {
  auto* host = core_.host.load();
  if (!host) return Error{ErrorCode::kNotSupported, "nothing can be subscribed to here"};
  SubscribeCursor::Parts parts;
  parts.progress = subscribe.progress;
  SubscribeOptions options{.snapshot = subscribe.snapshot, .token = subscribe.token};
  const auto snapshot = core_.catalog.snapshot();
  const auto* object = view(*snapshot, subscribe);
  if (!object) {
    MR_TRY(const auto query, query_of(subscribe));
    MR_TRY(parts.view, TemporaryView::make(core_, definitions_, query, subscribe.begin));
    object = &parts.view->object();
    options.caught_up = true;
  }
  std::vector<size_t> columns(object->columns.size());
  for (size_t i = 0; i < columns.size(); ++i) columns[i] = i;
  MR_TRY(parts.decoder, Decoder::make(*object, std::move(columns)));
  MR_TRY(parts.subscription, host->subscribe(*object, std::move(options)));
  return std::unique_ptr<Cursor>(std::make_unique<SubscribeCursor>(std::move(parts)));
}

}  // namespace millrace::sql
