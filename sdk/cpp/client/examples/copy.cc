// An application between two topics that runs a node's modules on what it receives, or on what it
// sends:
//
//   millrace_copy KAFKA HTTP FROM TO receiving|sending TRANSFORM...
//   millrace_copy 127.0.0.1:9092 127.0.0.1:8080 orders clean sending redact fields=email skip
//
// A TRANSFORM is FUNCTION or FUNCTION.EXPORT; what follows is its own: name=value (a parameter),
// reject, dead_letter or skip (what is done when it fails), sha256:HASH (the module that it must
// be).
#include <fmt/format.h>
#include <millrace/client.h>

#include <csignal>

namespace client = millrace::client;
using namespace std::chrono_literals;

namespace {

volatile std::sig_atomic_t stopping = 0;

constexpr std::string_view kHash = "sha256:";

bool is_option(std::string_view word) {
  return word.starts_with(kHash) || word == "reject" || word == "dead_letter" || word == "skip";
}

std::vector<client::Transform> transforms_of(std::span<char*> words) {
  std::vector<client::Transform> out;
  for (const std::string word : words) {
    const auto equals = word.find('=');
    if (out.empty() || !(equals != word.npos || is_option(word))) {
      const auto dot = word.find('.');
      out.push_back({.function = word.substr(0, dot),
                     .export_name = dot == word.npos ? "" : word.substr(dot + 1)});
    } else if (equals != word.npos) {
      out.back().params[word.substr(0, equals)] = word.substr(equals + 1);
    } else if (word.starts_with(kHash)) {
      out.back().hash = word.substr(kHash.size());
    } else {
      out.back().on_error = word == "skip"          ? client::OnError::kSkip
                            : word == "dead_letter" ? client::OnError::kDeadLetter
                                                    : client::OnError::kReject;
    }
  }
  return out;
}

millrace::Result<> copy(std::span<char*> words) {
  client::Options options{
      .node = words[1], .kafka = {{"bootstrap.servers", words[0]}}, .look_again = 100ms};
  auto receiving = options, sending = options;
  receiving.kafka["group.id"] = fmt::format("copy of {} to {}", words[2], words[3]);
  receiving.kafka["auto.offset.reset"] = "earliest";
  receiving.kafka["enable.auto.commit"] = "false";
  sending.kafka["enable.idempotence"] = "true";
  const bool at_first = std::string_view(words[4]) == "receiving";
  (at_first ? receiving : sending).transforms = transforms_of(words.subspan(5));
  MR_TRY(const auto producer, client::Producer::open(std::move(sending)));
  MR_TRY(const auto consumer, client::Consumer::open(std::move(receiving), {words[2]}));
  while (!stopping) {
    MR_TRY(auto records, consumer->consume(100ms));
    if (records.empty()) continue;
    for (auto& record : records) {
      record.topic = words[3];
      record.partition = -1;
    }
    // Each record at least once: what is committed was acknowledged.
    MR_TRY(producer->send(std::move(records)));
    MR_TRY(producer->flush(30s));
    MR_TRY(consumer->commit());
  }
  const auto counts = at_first ? consumer->counts() : producer->counts();
  fmt::print("{} records in, {} out, {} failed\n", counts.records_in, counts.records_out,
             counts.failed);
  return {};
}

}  // namespace

int main(int count, char** words) {
  std::signal(SIGTERM, [](int) { stopping = 1; });
  std::signal(SIGINT, [](int) { stopping = 1; });
  const std::span<char*> arguments(words + 1, static_cast<size_t>(count - 1));
  if (arguments.size() < 6) {
    fmt::print(stderr, "usage: millrace_copy KAFKA HTTP FROM TO receiving|sending TRANSFORM...\n");
    return 2;
  }
  const auto copied = copy(arguments);
  if (copied) return 0;
  fmt::print(stderr, "millrace_copy: {}\n{}\n", copied.error().text, copied.error().hint);
  return 1;
}
