// What the client SDK (sdk/cpp/client) costs: one mode a run, one line of JSON as its result.
//   millrace_client_bench produce|consume KAFKA HTTP TOPIC RECORDS [FUNCTION.EXPORT]
// produce: JSON records of 100 bytes, every other one an error, in batches of 1,000. consume: until
// so many came out. CPU is of this process, librdkafka's threads included, a record of RECORDS.
#include <fmt/format.h>
#include <millrace/client.h>
#include <sys/resource.h>

#include <chrono>
#include <string>

namespace client = millrace::client;
using namespace std::chrono_literals;

namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kBatch = 1000;

[[noreturn]] void stop(const std::string& why) {
  fmt::print(stderr, "millrace_client_bench: {}\n", why);
  std::exit(1);
}

template <typename T>
auto must(millrace::Result<T> result) {
  if (!result) stop(result.error().text);
  return std::move(result).value();
}

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

std::string text(size_t i) {
  auto out =
      fmt::format(R"({{"id":{},"level":"{}","text":")", i % 100'000, i % 2 ? "info" : "error");
  out.resize(98, 'x');
  return out + "\"}";
}

void produce(client::Options options, const std::string& topic, size_t records) {
  options.kafka["acks"] = "all";
  options.kafka["queue.buffering.max.messages"] = "1000000";
  const auto producer = must(client::Producer::open(std::move(options)));
  for (size_t i = 0; i < records; i += kBatch) {
    std::vector<client::Record> batch;
    batch.reserve(kBatch);
    for (size_t k = 0; k < kBatch; ++k) batch.push_back({.topic = topic, .value = text(i + k)});
    must(producer->send(std::move(batch)));
  }
  must(producer->flush(120s));
}

void consume(client::Options options, const std::string& topic, size_t records) {
  options.kafka["group.id"] = "bench";
  options.kafka["auto.offset.reset"] = "earliest";
  options.kafka["enable.auto.commit"] = "false";
  // A queue that is full makes librdkafka 2.0 wait for a second.
  options.kafka["queued.min.messages"] = "10000000";
  options.kafka["queued.max.messages.kbytes"] = "1000000";
  const auto consumer = must(client::Consumer::open(std::move(options), {topic}));
  for (size_t came = 0; came < records;) came += must(consumer->consume(1s, kBatch)).size();
}

}  // namespace

int main(int count, char** words) {
  if (count < 6) stop("produce|consume KAFKA HTTP TOPIC RECORDS [FUNCTION.EXPORT]");
  const std::string mode = words[1];
  const size_t records = std::stoull(words[5]);
  client::Options options{.node = words[3], .kafka = {{"bootstrap.servers", words[2]}}};
  if (count > 6) {
    const std::string named = words[6];
    const auto dot = named.find('.');
    options.transforms = {{.function = named.substr(0, dot), .export_name = named.substr(dot + 1)}};
  }
  const auto began = Clock::now();
  const double cpu = cpu_seconds();
  (mode == "produce" ? produce : consume)(std::move(options), words[4], records);
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  fmt::print(R"({{"seconds":{:.3f},"cpu_us":{:.3f}}})"
             "\n",
             seconds, (cpu_seconds() - cpu) / static_cast<double>(records) * 1e6);
}
