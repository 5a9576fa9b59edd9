#include "wasm/engine.h"

#include <gmock/gmock.h>

#include "wasm/detail/seal.h"
#include "wasm/wasm_test_util.h"

namespace millrace::wasm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

class EngineTest : public WasmTest {
 protected:
  static constexpr std::string_view kIdentity =
      R"((func (export "millrace__map__f") (param i32) (result i32) (local.get 0)))";
  std::string compiled_path(const Module& module) {
    return "/cache/" + module.hash() + ".compiled";
  }
};

TEST_F(EngineTest, TheSameBytesAreOneModule) {
  const auto first = module(wat(kIdentity));
  EXPECT_EQ(module(wat(kIdentity)), first);
  EXPECT_THAT(engine().modules(), ElementsAre(first));
  EXPECT_EQ(first->hash(), sha256(must(assemble(wat(kIdentity)))));
  EXPECT_THAT(first->hash(), SizeIs(64));
}

TEST_F(EngineTest, AModuleSaysWhatItExports) {
  const auto loaded = guest();
  std::vector<std::string> told;
  for (const auto& t : loaded->transforms()) {
    told.push_back(fmt::format("{} {}{}{}", to_string(t.kind), t.name, t.has_init ? " init" : "",
                               t.has_look_back ? " look_back" : ""));
  }
  EXPECT_THAT(told, ElementsAre("scalar add", "filter contains init", "aggregate count",
                                "filter first_byte", "filter_map key_only", "filter keyed",
                                "map last look_back", "filter refuse", "map route", "expand split",
                                "map upper"));
}

TEST_F(EngineTest, ACompiledModuleIsReadFromTheDisk) {
  const auto bytes = must(assemble(wat(kIdentity)));
  const auto path = compiled_path(*must(engine().load(bytes)));
  ASSERT_TRUE(env_.files().exists(path));
  const size_t writes = env_.files().write_count();
  restart();
  const auto again = must(engine().load(bytes));
  EXPECT_EQ(env_.files().write_count(), writes);  // a compiled one would have been written
  const auto map = chain({{.module = again, .transform = "f"}});
  const auto records = values({"x"});
  EXPECT_THAT(told(must(map->apply({.records = records}))), ElementsAre("0:x"));
}

TEST_F(EngineTest, ADamagedOrForeignFileIsNotRead) {
  const auto bytes = must(assemble(wat(kIdentity)));
  const auto path = compiled_path(*must(engine().load(bytes)));
  const auto good = must(env_.files().read_file(path));
  const auto is_made_anew = [&](std::string_view what) {
    restart();
    EXPECT_TRUE(engine().load(bytes).has_value()) << what;
    EXPECT_EQ(must(env_.files().read_file(path)).size(), good.size()) << what;
    const auto now = must(env_.files().read_file(path));
    restart();
    const size_t writes = env_.files().write_count();
    EXPECT_TRUE(engine().load(bytes).has_value()) << what;
    EXPECT_EQ(env_.files().write_count(), writes) << what;
  };
  for (const size_t at : {size_t{0}, size_t{20}, size_t{41}, good.size() / 2, good.size() - 1}) {
    auto bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    EXPECT_TRUE(env_.files().replace_file(path, bad).has_value());
    is_made_anew(fmt::format("byte {}", at));
  }
  EXPECT_TRUE(env_.files().replace_file(path, good.substr(0, good.size() / 2)).has_value());
  is_made_anew("half of it");
  EXPECT_TRUE(env_.files().replace_file(path, "").has_value());
  is_made_anew("empty");
  // Another module's file under this name, with a seal of ours.
  const auto other = guest();
  EXPECT_TRUE(env_.files()
                  .replace_file(path, must(env_.files().read_file(compiled_path(*other))))
                  .has_value());
  is_made_anew("another module");
  // Another node's folder: the key differs.
  EXPECT_TRUE(env_.files().replace_file("/cache/seal.key", std::string(32, 'k')).has_value());
  is_made_anew("another key");
}

TEST_F(EngineTest, WithoutRoomOnTheDiskItWorksAllTheSame) {
  (void)guest();  // so that the folder is there
  env_.files().fail_after(0, ErrorCode::kDiskFull, 1000);
  const auto loaded = engine().load(must(assemble(wat(kIdentity))));
  env_.files().heal();
  EXPECT_TRUE(loaded.has_value());
}

TEST_F(EngineTest, TextThatIsNoModuleSaysWhere) {
  const auto bad = assemble("(module\n  (fun))");
  ASSERT_FALSE(bad.has_value());
  EXPECT_EQ(bad.error().code, ErrorCode::kSyntax);
  EXPECT_THAT(bad.error().text, HasSubstr("2:4"));
}

TEST(SealedFiles, GiveWhatWasPutAndNothingOfAnotherVersion) {
  io::TestEnv env;
  const auto files = std::move(SealedFiles::open(env, "/sealed", "1")).value();
  ASSERT_TRUE(files.put("a", "bytes").has_value());
  EXPECT_EQ(files.get("a"), "bytes");
  EXPECT_EQ(files.get("b"), std::nullopt);
  EXPECT_EQ(std::move(SealedFiles::open(env, "/sealed", "1")).value().get("a"), "bytes");
  EXPECT_EQ(std::move(SealedFiles::open(env, "/sealed", "2")).value().get("a"), std::nullopt);
}

}  // namespace
}  // namespace millrace::wasm
