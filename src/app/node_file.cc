#include "app/node_file.h"

#include <signal.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <filesystem>
#include <fstream>

namespace millrace::app {

namespace {
std::string path_of(const std::string& folder) { return folder + "/node.json"; }
}  // namespace

Result<> write_node_file(const std::string& folder, const NodeFile& node) {
  boost::json::object json{{"pid", node.pid},
                           {"version", node.version},
                           {"kafka", node.kafka},
                           {"pg", node.pg},
                           {"http", node.http}};
  std::string path = path_of(folder), draft = path + ".tmp";
  {
    std::ofstream file(draft, std::ios::trunc);
    file << boost::json::serialize(json) << '\n';
    if (!file.flush()) return Error{ErrorCode::kIo, "cannot write " + draft};
  }
  std::error_code failure;
  std::filesystem::rename(draft, path, failure);
  if (failure)
    return Error{ErrorCode::kIo, fmt::format("cannot write {}: {}", path, failure.message())};
  return {};
}

Result<NodeFile> read_node_file(const std::string& folder) {
  std::ifstream file(path_of(folder));
  Error gone{ErrorCode::kConnectionClosed, "no node runs on the data folder " + folder};
  if (!file) return gone;
  std::string text((std::istreambuf_iterator<char>(file)), {});
  boost::system::error_code failure;
  auto json = boost::json::parse(text, failure);
  if (failure || !json.is_object())
    return Error{ErrorCode::kIo, path_of(folder) + " is damaged: " + failure.message()};
  auto string_at = [&](const char* key) {
    const auto* value = json.as_object().if_contains(key);
    return value && value->is_string() ? std::string(value->as_string()) : std::string();
  };
  NodeFile node;
  if (const auto* pid = json.as_object().if_contains("pid"); pid && pid->is_int64())
    node.pid = pid->as_int64();
  node.version = string_at("version");
  node.kafka = string_at("kafka");
  node.pg = string_at("pg");
  node.http = string_at("http");
  if (node.pid <= 0 || (kill(static_cast<pid_t>(node.pid), 0) != 0 && errno == ESRCH)) return gone;
  return node;
}

void remove_node_file(const std::string& folder) {
  std::error_code ignored;
  std::filesystem::remove(path_of(folder), ignored);
}

}  // namespace millrace::app
