#include "http/functions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "http/detail/function_requests.h"

namespace millrace::http::detail {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

/// Takes any module that begins with "wasm"; its hash is "hash of" its bytes.
class FakeFunctions : public Functions {
 public:
  std::vector<FunctionInfo> list() override {
    std::vector<FunctionInfo> out;
    for (const auto& [name, function] : functions) out.push_back(function);
    return out;
  }
  Result<FunctionInfo> find(const std::string& name) override {
    if (functions.contains(name)) return functions[name];
    return Error{ErrorCode::kUndefinedObject, "there is no function \"" + name + "\""};
  }
  Result<std::string> module(const std::string& hash) override {
    if (modules.contains(hash)) return modules[hash];
    return Error{ErrorCode::kNotFound, "there is no module " + hash};
  }
  Result<FunctionInfo> put(const std::string& name, std::string_view module,
                           const std::string& user, const std::string& password) override {
    if (user == "guarded" && password != "secret") return Error{ErrorCode::kNotAllowed, "wrong"};
    if (!module.starts_with("wasm")) return Error{ErrorCode::kInvalidArgument, "no module"};
    auto& function = functions[name];
    if (!function.owner.empty() && function.owner != user) {
      return Error{ErrorCode::kNotAllowed, "it is " + function.owner + "'s"};
    }
    function.version += function.name.empty() ? 0 : 1;
    function.name = name;
    function.owner = user;
    function.bytes = module.size();
    function.hash = "hash of " + std::string(module);
    function.exports = {{"mask", "map"}};
    modules[function.hash] = module;
    return function;
  }

  std::map<std::string, FunctionInfo> functions;
  std::map<std::string, std::string> modules;
};

class FunctionRequests : public testing::Test {
 protected:
  Answer ask(std::string method, std::string target, std::string body = {}, std::string user = {},
             std::string known = {}) {
    return answer_functions(functions, {.method = std::move(method),
                                        .target = std::move(target),
                                        .if_none_match = std::move(known),
                                        .user = std::move(user),
                                        .body = std::move(body)});
  }
  FakeFunctions functions;
};

TEST_F(FunctionRequests, MakeReplaceAndTellAFunction) {
  EXPECT_EQ(ask("GET", "/v1/functions").body, "[]\n");
  const auto made = ask("POST", "/v1/functions/a%20b", "wasm 1");
  EXPECT_EQ(made.status, 200);
  EXPECT_EQ(made.body,
            R"({"name":"a b","hash":"hash of wasm 1","bytes":6,"version":1,"owner":"millrace",)"
            R"("exports":[{"name":"mask","kind":"map"}]})"
            "\n");
  EXPECT_EQ(ask("GET", "/v1/functions/a%20b").body, made.body);
  EXPECT_THAT(ask("POST", "/v1/functions/a%20b", "wasm 2").body, HasSubstr("\"version\":2"));
  EXPECT_THAT(ask("POST", "/v1/functions/c", "wasm 3", "ada").body, HasSubstr("\"owner\":\"ada\""));
  EXPECT_THAT(ask("GET", "/v1/functions?").body,
              AllOf(StartsWith("[{\"name\":\"a b\""), HasSubstr(",\n {\"name\":\"c\"")));
}

TEST_F(FunctionRequests, GiveAModuleByNameAndByHash) {
  ask("POST", "/v1/functions/f", "wasm1");
  ask("POST", "/v1/functions/f", "wasm2");
  const auto now = ask("GET", "/v1/functions/f/module");
  EXPECT_EQ(now.status, 200);
  EXPECT_EQ(now.content_type, "application/wasm");
  EXPECT_EQ(now.body, "wasm2");
  EXPECT_EQ(now.etag, "\"hash of wasm2\"");
  EXPECT_EQ(ask("GET", "/v1/functions/f/module?hash=hash%20of%20wasm1").body, "wasm1");

  const auto same = ask("GET", "/v1/functions/f/module", "", "", "\"x\", \"hash of wasm2\"");
  EXPECT_EQ(same.status, 304);
  EXPECT_EQ(same.body, "");
  EXPECT_EQ(same.etag, now.etag);
  EXPECT_EQ(ask("GET", "/v1/functions/f/module", "", "", "\"hash of wasm1\"").status, 200);

  const auto gone = ask("GET", "/v1/functions/f/module?hash=other");
  EXPECT_EQ(gone.status, 404);
  EXPECT_THAT(gone.body, AllOf(HasSubstr("no module other"), HasSubstr("hash of wasm2 now")));
  EXPECT_EQ(ask("GET", "/v1/functions/f/module?size=1").status, 400);
  EXPECT_EQ(ask("GET", "/v1/functions/f/module?hash=%x").status, 400);
}

TEST_F(FunctionRequests, TakeTheUsersPassword) {
  Request request{.method = "POST", .target = "/v1/functions/f", .user = "guarded", .body = "wasm"};
  EXPECT_EQ(answer_functions(functions, request).status, 403);
  request.password = "secret";
  EXPECT_EQ(answer_functions(functions, request).status, 200);
}

TEST_F(FunctionRequests, AreRefusedWithTheReason) {
  EXPECT_THAT(ask("POST", "/v1/functions/f").body, HasSubstr("no body"));
  EXPECT_EQ(ask("POST", "/v1/functions/f", "text").status, 400);
  EXPECT_TRUE(functions.modules.empty());
  ask("POST", "/v1/functions/g", "wasm", "ada");
  EXPECT_EQ(ask("POST", "/v1/functions/g", "wasm2", "eve").status, 403);
  EXPECT_THAT(ask("GET", "/v1/functions/h").body, HasSubstr("no function \\\"h\\\""));
  for (const auto* target : {"/v1/functions/h/module", "/v1/functions/", "/v1/functions/g/x",
                             "/v1/functions/g/module/", "/v1/functions/%zz"}) {
    EXPECT_EQ(ask("GET", target).status, 404) << target;
  }
  const auto no_list = ask("POST", "/v1/functions", "wasm");
  EXPECT_EQ(no_list.status, 405);
  EXPECT_EQ(no_list.allow, "GET, HEAD");
  EXPECT_EQ(ask("DELETE", "/v1/functions/g").allow, "GET, HEAD, POST");
  EXPECT_EQ(ask("POST", "/v1/functions/g/module", "wasm").status, 405);
  EXPECT_EQ(functions.modules.size(), 1u);
}

TEST(FunctionPaths, AreTheirsAlone) {
  EXPECT_TRUE(is_of_functions("/v1/functions"));
  EXPECT_TRUE(is_of_functions("/v1/functions/x"));
  EXPECT_FALSE(is_of_functions("/v1/functionsx"));
  EXPECT_FALSE(is_of_functions("/v1"));
}

}  // namespace
}  // namespace millrace::http::detail
