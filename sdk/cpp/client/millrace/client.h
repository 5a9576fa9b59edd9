#pragma once
// Kafka clients that run a Millrace node's modules themselves: what a producer sends goes through
// them before it leaves the process, what a consumer receives before the application sees it.
// docs/transforms.md, "In a client".
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "wasm/module.h"

namespace millrace::client {

/// What is done with a record that a module refuses, and with the records of a batch in which a
/// module fails as a whole (a trap, its time slice, its memory); as ON ERROR of a topic.
enum class OnError {
  kReject,      // the call fails, and nothing of its batch goes on
  kDeadLetter,  // it is in TOPIC.dead_letter, durably, before the rest goes on
  kSkip,        // it is left out, and counted
};

/// One export of a function of the node, with its parameters: a filter, map, filter_map or expand.
struct Transform {
  std::string function;
  std::string export_name = {};  // empty: the only one, or the one named as the function
  std::map<std::string, std::string> params = {};
  OnError on_error = OnError::kReject;
  /// SHA-256 of the module that it must be, in hex; empty: the one that the function has, also when
  /// it gets another one while the client runs.
  std::string hash = {};
  wasm::Limits limits = {};
};

struct Options {
  std::string node;                        // a node's HTTP address: "127.0.0.1:8080"
  std::vector<Transform> transforms = {};  // in the order in which they are applied
  /// Librdkafka's properties: "bootstrap.servers", ...
  std::map<std::string, std::string> kafka = {};
  /// How often the node is asked whether a function has another module.
  std::chrono::milliseconds look_again{5000};
  /// Where compiled modules are kept for the next start; empty: nowhere.
  std::string cache_folder = {};
  /// What modules log, on the thread that runs them; none: dropped.
  std::function<void(std::string_view transform, std::string_view level, std::string_view text)>
      log = {};
};

struct Header {
  std::string name;
  std::optional<std::string> value = {};
};
struct Record {
  std::string topic;
  int32_t partition = -1;  // -1: librdkafka's partitioner takes one, by the key as it is sent
  int64_t offset = -1;     // of what was received
  int64_t timestamp = 0;   // milliseconds; 0: now
  std::optional<std::string> key = {};
  std::optional<std::string> value = {};
  std::vector<Header> headers = {};
};

/// Since the client was opened.
struct Counts {
  uint64_t records_in = 0;
  uint64_t records_out = 0;
  uint64_t failed = 0;  // those that were refused, set aside or left out
};

namespace detail {
class Guests;
class Letters;
class Sender;
class Receiver;
}  // namespace detail

/// A producer whose records go through modules first. One thread at a time.
class Producer {
 public:
  /// Fetches and starts the modules. Errors: kConnectionClosed (the node does not answer),
  /// kUndefinedFunction (it has no such function, module or export), kInvalidArgument (parameters,
  /// what cannot stand in a client), kInvalidConfig (librdkafka's properties), kNotSupported
  /// (transactions).
  static Result<std::unique_ptr<Producer>> open(Options options);
  /// What is not flushed is lost.
  ~Producer();

  /// Sends `records` through the modules as one batch (as a topic's transforms get what a producer
  /// batched), and hands what comes out to librdkafka, which flush() waits for. Errors:
  /// kGuestFailed, and then nothing is sent; kConnectionClosed, when dead letters or records are
  /// not taken: those before the one that it names may be sent.
  Result<> send(std::vector<Record> records);
  /// Waits until everything is acknowledged. Errors: kCancelled when it is not by then;
  /// kConnectionClosed, when records were not delivered since the last call: how many, and why.
  Result<> flush(std::chrono::milliseconds timeout);

  /// The hashes of the modules that run, by transform.
  std::vector<std::string> modules() const;
  /// How the last look for other modules ended; after an error the client goes on with those it
  /// has.
  Result<> following() const;
  Counts counts() const;

 private:
  Producer();
  std::unique_ptr<detail::Guests> guests_;
  std::unique_ptr<detail::Letters> letters_;
  std::unique_ptr<detail::Sender> sender_;
};

/// A consumer of a group whose application sees what modules make of the records. One thread at a
/// time.
class Consumer {
 public:
  /// Errors: as of Producer::open().
  static Result<std::unique_ptr<Consumer>> open(Options options,
                                                const std::vector<std::string>& topics);
  /// Leaves the group. What was given last counts as not read, unless commit() said so.
  ~Consumer();

  /// Waits for records, and sends up to `records_max` of them through the modules as one batch.
  /// What comes out has the topic, partition and offset of what it was made of; it may be nothing.
  /// Who asks again has dealt with what was given before: its offsets are committed from then on,
  /// by librdkafka's auto commit. Errors: kGuestFailed, and then the next call tries the same
  /// records again; kConnectionClosed, and what librdkafka says.
  Result<std::vector<Record>> consume(std::chrono::milliseconds timeout, size_t records_max = 1000);
  /// Commits what consume() has given so far, durably. Errors: kConnectionClosed.
  Result<> commit();

  /// As Producer's.
  std::vector<std::string> modules() const;
  Result<> following() const;
  Counts counts() const;

 private:
  Consumer();
  std::unique_ptr<detail::Guests> guests_;
  std::unique_ptr<detail::Letters> letters_;
  std::unique_ptr<detail::Receiver> receiver_;
};

}  // namespace millrace::client
