#include "http/detail/function_requests.h"

#include <fmt/format.h>

#include "base/json.h"
#include "http/detail/feed.h"
#include "http/detail/query.h"

namespace millrace::http::detail {

namespace {

// Whose statement it is when the request names nobody: the command line's user.
constexpr std::string_view kUser = "millrace";

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(text, out);
  return out;
}

std::string as_json(const FunctionInfo& function) {
  std::string exports;
  for (const auto& each : function.exports) {
    exports += fmt::format(R"({}{{"name":{},"kind":{}}})", exports.empty() ? "" : ",",
                           quoted(each.name), quoted(each.kind));
  }
  return fmt::format(
      R"({{"name":{},"hash":"{}","bytes":{},"version":{},"owner":{},"exports":[{}]}})",
      quoted(function.name), function.hash, function.bytes, function.version,
      quoted(function.owner), exports);
}

Answer ok(std::string json) { return {200, "application/json", std::move(json) + "\n"}; }
Answer refusal(const Error& error) {
  return {info(error.code).http, "application/json", to_json(error) + "\n"};
}
Answer only(std::string_view methods) {
  return {405, "text/plain; charset=utf-8", fmt::format("only {}\n", methods), methods};
}

std::string etag_of(std::string_view hash) { return fmt::format("\"{}\"", hash); }

/// Whether `tags`, of If-None-Match, has the one: a hash holds no comma, and no other tag holds it.
bool has_tag(std::string_view tags, std::string_view tag) {
  return tags == "*" || tags.find(tag) != tags.npos;
}

Result<Answer> module(Functions& functions, const std::string& name, const Request& request) {
  MR_TRY(const auto query, read_query(request.target));
  MR_TRY(const auto function, functions.find(name));
  auto hash = function.hash;
  for (const auto& [asked, value] : query) {
    if (asked != "hash") {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("{}={} is not understood", asked, value), std::nullopt,
                   "GET /v1/functions/NAME/module[?hash=HASH]"};
    }
    hash = value;
  }
  auto bytes = functions.module(hash);
  if (!bytes) {
    auto error = std::move(bytes).error();
    if (error.code == ErrorCode::kNotFound) {
      error.hint = fmt::format("Function {} has the module {} now.", quoted(name), function.hash);
    }
    return error;
  }
  Answer answer{200, "application/wasm", "", "GET, HEAD", etag_of(hash)};
  if (has_tag(request.if_none_match, answer.etag)) {
    answer.status = 304;
  } else {
    answer.body = std::move(*bytes);
  }
  return answer;
}

Result<Answer> put(Functions& functions, const std::string& name, const Request& request) {
  if (request.body.empty()) {
    return Error{ErrorCode::kInvalidArgument, "the request has no body", std::nullopt,
                 "The body is the module: its bytes, or its text form."};
  }
  MR_TRY(const auto function,
         functions.put(name, request.body, request.user.empty() ? std::string(kUser) : request.user,
                       request.password));
  return ok(as_json(function));
}

Answer list(Functions& functions) {
  std::string all;
  for (const auto& each : functions.list()) all += (all.empty() ? "" : ",\n ") + as_json(each);
  return ok("[" + all + "]");
}

/// `rest`: NAME or NAME/module.
Result<Answer> one(Functions& functions, std::string_view rest, const Request& request) {
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const auto slash = rest.find('/');
  const auto name = percent_decoded(rest.substr(0, slash));
  if (!name || name->empty() || (slash != rest.npos && rest.substr(slash) != "/module")) {
    return Error{ErrorCode::kUndefinedObject, "there is no such path", std::nullopt,
                 "/v1/functions, /v1/functions/NAME, /v1/functions/NAME/module"};
  }
  if (slash != rest.npos) return reads ? module(functions, *name, request) : only("GET, HEAD");
  if (request.method == "POST") return put(functions, *name, request);
  if (!reads) return only("GET, HEAD, POST");
  MR_TRY(const auto function, functions.find(*name));
  return ok(as_json(function));
}

}  // namespace

bool is_of_functions(std::string_view path) {
  return path == kFunctionsPath ||
         (path.starts_with(kFunctionsPath) && path[kFunctionsPath.size()] == '/');
}

Answer answer_functions(Functions& functions, const Request& request) {
  auto path = path_of(request.target);
  path.remove_prefix(kFunctionsPath.size());
  if (path.empty()) {
    const bool reads = request.method == "GET" || request.method == "HEAD";
    return reads ? list(functions) : only("GET, HEAD");
  }
  auto answered = one(functions, path.substr(1), request);
  return answered ? std::move(*answered) : refusal(answered.error());
}

}  // namespace millrace::http::detail
