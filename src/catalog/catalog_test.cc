#include "catalog/catalog.h"

#include <gmock/gmock.h>

#include "base/io/memory_files.h"
#include "catalog/detail/object_json.h"
#include "catalog/function.h"

namespace millrace::catalog {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kPath = "/data/log";

Object topic(std::string name) {
  Object object;
  object.kind = Kind::kTopic;
  object.name = std::move(name);
  object.columns = {{.name = "a", .type = "BIGINT"}};
  object.options = {{"retention.ms", "1000"}};
  object.partitions = 3;
  return object;
}

Object view(std::string name, std::vector<std::string> reads) {
  Object object;
  object.kind = Kind::kView;
  object.name = std::move(name);
  object.query = "SELECT 1";
  object.depends_on = std::move(reads);
  return object;
}

class CatalogTest : public testing::Test {
 protected:
  CatalogTest() { open(); }
  ~CatalogTest() override { close(); }

  void open() {
    auto opened = shard().block_on(Catalog::open(env_, shard(), kPath));
    ASSERT_TRUE(opened) << opened.error().text;
    catalog_ = std::move(*opened);
  }
  void close() {
    if (!catalog_) return;
    EXPECT_TRUE(shard().block_on(catalog_->close()));
    catalog_.reset();
  }
  void reopen() {
    close();
    open();
  }
  Result<Object> put(Object object, bool replace = false) {
    return shard().block_on(catalog_->put(std::move(object), replace));
  }
  Result<> drop(std::string name) { return shard().block_on(catalog_->drop(std::move(name))); }
  std::vector<std::string> names() {
    std::vector<std::string> out;
    const auto snapshot = catalog_->snapshot();
    for (const auto* object : snapshot->list()) out.push_back(object->name);
    return out;
  }
  io::Shard& shard() { return runtime_.shard(0); }

  io::TestEnv env_;
  io::Runtime runtime_{2, 1};
  std::unique_ptr<Catalog> catalog_;
};

TEST(ObjectJson, KeepsEveryMember) {
  Object object;
  object.kind = Kind::kMaterializedView;
  object.name = "Späße \"q\"";
  object.id = Uuid::random();
  object.version = 7;
  object.columns = {{.name = "a", .type = "STRUCT(b INTEGER)[]", .not_null = true},
                    {.name = "c", .type = "BIGINT", .default_sql = "1 + 1"}};
  object.primary_key = {"a", "c"};
  object.watermark = Watermark{"a", "a - INTERVAL 1 SECOND"};
  object.query = "SELECT 'x'\n";
  object.depends_on = {"t", "u"};
  object.partitions = 12;
  object.options = {{"format", "json"}};
  object.sql = "CREATE …";
  object.internal = true;
  object.owner = "ada";
  object.transforms = {{.function = "redact", .export_name = "mask"},
                       {.function = "keep",
                        .export_name = "errors",
                        .place = Transform::Place::kFetch,
                        .group = "billing",
                        .on_error = Transform::OnError::kDeadLetter,
                        .params = {{"field", "email"}},
                        .options = {{"memory", "1048576"}},
                        .owner = "grace"}};
  auto back = detail::from_json(detail::to_json(object));
  ASSERT_TRUE(back) << back.error().text;
  EXPECT_TRUE(back->same_definition(object));
  EXPECT_EQ(back->id, object.id);
  EXPECT_EQ(back->version, 7u);
}

TEST(ObjectJson, SaysWhatIsWrong) {
  for (auto bad : {"", "[]", "{}", R"({"kind":"x"})", R"({"kind":"topic","name":1})"}) {
    auto read = detail::from_json(bad);
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.error().code, ErrorCode::kCorruptRecord);
  }
  std::string json = detail::to_json(topic("t"));
  json.replace(json.find("BIGINT") - 1, 8, "17");
  EXPECT_THAT(detail::from_json(json).error().text, HasSubstr("columns.type"));
  auto with_transform = topic("t");
  with_transform.transforms = {{.function = "f", .export_name = "g"}};
  json = detail::to_json(with_transform);
  json.replace(json.find("\"produce\""), 9, "\"nowhere\"");
  EXPECT_THAT(detail::from_json(json).error().text, HasSubstr("transforms.place"));
}

TEST_F(CatalogTest, KeepsFunctionsThatTopicsUse) {
  Object function;
  function.kind = Kind::kFunction;
  function.name = "redact";
  function.owner = "ada";
  function.options = {{kModuleHash, "00ff"}, {kModuleExports, "filter keep, map redact"}};
  ASSERT_TRUE(put(function));
  auto with_transform = topic("t");
  with_transform.transforms = {{.function = "redact", .export_name = "keep", .owner = "ada"}};
  with_transform.depends_on = {"redact"};
  ASSERT_TRUE(put(with_transform));
  reopen();
  const auto refused = drop("redact");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kDependentObjects);
  EXPECT_THAT(refused.error().text, HasSubstr("used by topic \"t\""));
  const auto snapshot = catalog_->snapshot();
  EXPECT_EQ(snapshot->find("t")->transforms, with_transform.transforms);
  const auto exports = module_exports(*snapshot->find("redact"));
  ASSERT_EQ(exports.size(), 2u);
  EXPECT_EQ(exports[1].kind, "map");
  EXPECT_EQ(exports[1].name, "redact");
  ASSERT_TRUE(put(topic("t"), true));
  EXPECT_TRUE(drop("redact"));
}

TEST_F(CatalogTest, KeepsWhatItWasToldOverARestart) {
  auto stored = put(topic("t"));
  ASSERT_TRUE(stored);
  EXPECT_FALSE(stored->id.is_zero());
  EXPECT_EQ(stored->version, 1u);
  ASSERT_TRUE(put(topic("gone")));
  ASSERT_TRUE(put(view("v", {"t"})));
  ASSERT_TRUE(drop("gone"));
  auto changed = topic("t");
  changed.partitions = 5;
  ASSERT_TRUE(put(changed, true));
  reopen();
  EXPECT_THAT(names(), ElementsAre("t", "v"));
  const auto snapshot = catalog_->snapshot();
  const auto* t = snapshot->find("t");
  ASSERT_NE(t, nullptr);
  EXPECT_TRUE(t->same_definition(changed));
  EXPECT_EQ(t->id, stored->id);
  EXPECT_EQ(t->version, 2u);
  EXPECT_EQ(snapshot->find(stored->id), t);
  EXPECT_EQ(snapshot->dependents("t").size(), 1u);
}

TEST_F(CatalogTest, IsDurableBeforeItIsSeen) {
  ASSERT_TRUE(put(topic("t")));
  env_.files().forget_unsynced();
  // The node is dead: its files answer no more. A new one reads what was synced.
  shard().block_on(catalog_->close()).has_value();
  catalog_.reset();
  open();
  EXPECT_THAT(names(), ElementsAre("t"));
}

TEST_F(CatalogTest, ShowsNothingThatTheDiskRefused) {
  const auto before = catalog_->snapshot();
  env_.files().fail_after(0, ErrorCode::kDiskFull, 1000);
  auto stored = put(topic("t"));
  env_.files().heal();
  ASSERT_FALSE(stored);
  EXPECT_EQ(stored.error().code, ErrorCode::kDiskFull);
  EXPECT_EQ(catalog_->snapshot()->find("t"), nullptr);
  EXPECT_EQ(catalog_->snapshot()->version(), before->version());
}

TEST_F(CatalogTest, RefusesNamesThatAreTaken) {
  ASSERT_TRUE(put(topic("t")));
  auto again = put(topic("t"));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kDuplicateObject);
  auto other_kind = view("t", {});
  EXPECT_EQ(put(other_kind, true).error().code, ErrorCode::kDuplicateObject);
  EXPECT_EQ(put(topic("T")).error().code, ErrorCode::kDuplicateObject);
  EXPECT_EQ(put(topic("")).error().code, ErrorCode::kInvalidName);
}

TEST_F(CatalogTest, FindsNamesAsSqlDoesAndTopicsOfKafkaAsKafkaDoes) {
  ASSERT_TRUE(put(topic("Flights")));
  EXPECT_EQ(catalog_->snapshot()->find("FLIGHTS")->name, "Flights");
  auto raw = topic("flights");
  raw.columns.clear();
  ASSERT_TRUE(put(raw));
  const auto snapshot = catalog_->snapshot();
  EXPECT_EQ(snapshot->find("flights")->name, "flights");
  EXPECT_EQ(snapshot->find("Flights")->name, "Flights");
  EXPECT_EQ(snapshot->find("FLIGHTS"), nullptr);  // which of the two?
  EXPECT_EQ(snapshot->find("flight"), nullptr);
}

TEST_F(CatalogTest, RefusesToDropWhatOthersRead) {
  ASSERT_TRUE(put(topic("t")));
  ASSERT_TRUE(put(view("v", {"T"})));
  auto dropped = drop("t");
  ASSERT_FALSE(dropped);
  EXPECT_EQ(dropped.error().code, ErrorCode::kDependentObjects);
  EXPECT_THAT(dropped.error().text, HasSubstr("view \"v\""));
  ASSERT_TRUE(drop("V"));
  ASSERT_TRUE(drop("t"));
  EXPECT_EQ(drop("t").error().code, ErrorCode::kUndefinedObject);
  EXPECT_TRUE(names().empty());
}

TEST_F(CatalogTest, RefusesToReadWhatDoesNotExistOrItself) {
  EXPECT_EQ(put(view("v", {"nothing"})).error().code, ErrorCode::kUndefinedObject);
  ASSERT_TRUE(put(topic("t")));
  ASSERT_TRUE(put(view("a", {"t"})));
  ASSERT_TRUE(put(view("b", {"a"})));
  EXPECT_EQ(put(view("a", {"a"}), true).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(put(view("a", {"b"}), true).error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(put(view("b", {"t"}), true));
}

TEST_F(CatalogTest, LeavesSnapshotsAsTheyWere) {
  ASSERT_TRUE(put(topic("t")));
  const auto before = catalog_->snapshot();
  ASSERT_TRUE(drop("t"));
  EXPECT_NE(before->find("t"), nullptr);
  EXPECT_EQ(catalog_->snapshot()->find("t"), nullptr);
  EXPECT_GT(catalog_->snapshot()->version(), before->version());
}

TEST_F(CatalogTest, LetsOneOfManyHaveAName) {
  std::atomic<int> won = 0;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      auto stored = runtime_.shard(i % 2).block_on(catalog_->put(topic("same"), false));
      if (stored) ++won;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(won, 1);
}

TEST_F(CatalogTest, KeepsUsersInANameSpaceOfTheirOwn) {
  Object ann;
  ann.kind = Kind::kUser;
  ann.name = "t";
  ann.options = {{"scram-sha-256", "first"}};
  ASSERT_TRUE(put(topic("t")));
  ASSERT_TRUE(put(ann));
  EXPECT_EQ(put(ann).error().code, ErrorCode::kDuplicateObject);
  ann.options = {{"scram-sha-256", "second"}};
  ASSERT_TRUE(put(ann, true));
  ann.name = "gone";
  ASSERT_TRUE(put(ann));
  ASSERT_TRUE(shard().block_on(catalog_->drop_user("gone")));
  EXPECT_EQ(put(topic("user:t")).error().code, ErrorCode::kInvalidName);
  reopen();
  EXPECT_THAT(names(), ElementsAre("t"));
  EXPECT_EQ(catalog_->snapshot()->find("t")->kind, Kind::kTopic);
  ASSERT_EQ(catalog_->snapshot()->users().size(), 1u);
  const auto snapshot = catalog_->snapshot();
  const auto* user = snapshot->find_user("t");
  ASSERT_NE(user, nullptr);
  EXPECT_EQ(user->version, 2u);
  EXPECT_EQ(user->options.at("scram-sha-256"), "second");
  EXPECT_EQ(snapshot->find_user("T"), nullptr);
  ASSERT_TRUE(drop("t"));
  EXPECT_NE(catalog_->snapshot()->find_user("t"), nullptr);
}

TEST_F(CatalogTest, KeepsUsersThatSomethingIsForOrThatOwnSomething) {
  Object user;
  user.kind = Kind::kUser;
  const auto add = [&](std::string name, std::string owner) {
    user.name = std::move(name);
    user.owner = std::move(owner);
    ASSERT_TRUE(put(user));
  };
  auto t = topic("t");
  t.transforms = {{.function = "f",
                   .export_name = "e",
                   .place = Transform::Place::kFetch,
                   .user = "ann",
                   .owner = "bob"}};
  EXPECT_EQ(put(t).error().code, ErrorCode::kUndefinedObject);
  add("ann", "ann");
  add("bob", "ann");
  add("eve", "ann");
  ASSERT_TRUE(put(t));
  reopen();
  EXPECT_EQ(catalog_->snapshot()->find("t")->transforms, t.transforms);
  const auto drop_user = [&](std::string name) {
    return shard().block_on(catalog_->drop_user(std::move(name)));
  };
  EXPECT_THAT(drop_user("ann").error().text, HasSubstr("f.e of topic \"t\" is for it"));
  EXPECT_EQ(drop_user("bob").error().code, ErrorCode::kDependentObjects);
  EXPECT_TRUE(drop_user("eve"));
  EXPECT_EQ(drop_user("eve").error().code, ErrorCode::kUndefinedObject);
  t.transforms.clear();
  ASSERT_TRUE(put(t, true));
  EXPECT_THAT(drop_user("ann").error().text, HasSubstr("user \"bob\" is its own"));
  EXPECT_TRUE(drop_user("bob"));
  EXPECT_TRUE(drop_user("ann"));  // which made itself
}

TEST_F(CatalogTest, RefusesWhenClosed) {
  ASSERT_TRUE(shard().block_on(catalog_->close()));
  EXPECT_EQ(put(topic("t")).error().code, ErrorCode::kShuttingDown);
  EXPECT_EQ(drop("t").error().code, ErrorCode::kShuttingDown);
}

}  // namespace
}  // namespace millrace::catalog
