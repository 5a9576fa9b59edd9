#include "app/http_functions.h"

#include <fmt/format.h>

#include <charconv>
#include <duckdb/common/types/value.hpp>
#include <duckdb/parser/keyword_helper.hpp>

#include "catalog/function.h"
#include "guard/users.h"

namespace millrace::app {

namespace {

http::FunctionInfo info_of(const catalog::Object& function) {
  http::FunctionInfo info{.name = function.name,
                          .hash = catalog::module_hash(function),
                          .bytes = 0,
                          .version = function.version,
                          .owner = function.owner,
                          .exports = {}};
  if (const auto at = function.options.find(catalog::kModuleBytes); at != function.options.end()) {
    const auto& text = at->second;
    std::from_chars(text.data(), text.data() + text.size(), info.bytes);
  }
  for (auto& each : catalog::module_exports(function)) {
    info.exports.push_back({std::move(each.name), std::move(each.kind)});
  }
  return info;
}

class FunctionsOverHttp final : public http::Functions {
 public:
  FunctionsOverHttp(catalog::Catalog& catalog, broker::Transforms& transforms, sql::Engine& engine)
      : catalog_(catalog), transforms_(transforms), engine_(engine) {}

  std::vector<http::FunctionInfo> list() override {
    std::vector<http::FunctionInfo> out;
    const auto snapshot = catalog_.snapshot();
    for (const auto* object : snapshot->list()) {
      if (object->kind == catalog::Kind::kFunction) out.push_back(info_of(*object));
    }
    return out;
  }

  Result<http::FunctionInfo> find(const std::string& name) override {
    const auto snapshot = catalog_.snapshot();
    const auto* object = snapshot->find(name);
    if (object && object->kind == catalog::Kind::kFunction) return info_of(*object);
    return Error{ErrorCode::kUndefinedObject, fmt::format("there is no function \"{}\"", name)};
  }

  Result<std::string> module(const std::string& hash) override {
    return transforms_.module_bytes(hash);
  }

  Result<http::FunctionInfo> put(const std::string& name, std::string_view module,
                                 const std::string& user, const std::string& password) override {
    if (!duckdb::Value::StringIsValid(name)) {
      return Error{ErrorCode::kInvalidName, "the function's name is no UTF-8 text"};
    }
    const auto snapshot = catalog_.snapshot();
    const auto* known = snapshot->find_user(user);
    if (known && !guard::password_fits(known, password)) return guard::wrong_login();
    // First, so that the statement need not carry its bytes.
    MR_TRY(const auto kept, transforms_.add_module(module));
    MR_TRY(const auto session, engine_.connect(user, "millrace"));
    MR_TRY(
        const auto statement,
        session->prepare(fmt::format("CREATE OR REPLACE FUNCTION {} LANGUAGE wasm FROM 'sha256:{}'",
                                     duckdb::KeywordHelper::WriteQuoted(name, '"'), kept.hash),
                         {}));
    MR_TRY(const auto cursor, session->execute(*statement, {}));
    MR_TRY(cursor->fetch());
    return find(name);
  }

 private:
  catalog::Catalog& catalog_;
  broker::Transforms& transforms_;
  sql::Engine& engine_;
};

}  // namespace

std::unique_ptr<http::Functions> functions_over_http(catalog::Catalog& catalog,
                                                     broker::Transforms& transforms,
                                                     sql::Engine& engine) {
  return std::make_unique<FunctionsOverHttp>(catalog, transforms, engine);
}

}  // namespace millrace::app
