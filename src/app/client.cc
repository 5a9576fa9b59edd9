#include <cstdio>
#include <fstream>
#include <iterator>

#include "app/cli.h"
#include "app/node_file.h"

namespace millrace::app {

Result<Target> resolve(Target target) {
  if (!target.kafka.empty() && !target.pg.empty()) return target;
  auto file = read_node_file(target.data);
  if (file) {
    if (target.kafka.empty()) target.kafka = file->kafka;
    if (target.pg.empty()) target.pg = file->pg;
  } else if (target.data != kDefaultData) {
    Error error = std::move(file).error();
    error.hint = "start a node there with `millrace serve --data " + target.data + "`";
    return error;
  }
  if (target.kafka.empty()) target.kafka = kDefaultKafka;
  if (target.pg.empty()) target.pg = kDefaultPg;
  return target;
}

int fail(const Error& error) {
  fmt::print(stderr, "millrace: {}\n", error.text);
  if (!error.hint.empty()) fmt::print(stderr, "  hint: {}\n", error.hint);
  return error.code == ErrorCode::kConnectionClosed ? kUnreachable : kFailed;
}

}  // namespace millrace::app
