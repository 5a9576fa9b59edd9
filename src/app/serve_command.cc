#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "app/cli.h"
#include "app/node.h"
#include "app/serve_options.h"
#include "app/version.h"
#include "base/logging.h"

namespace millrace::app {

namespace {

/// SIGTERM and SIGINT, taken by this thread alone; to be blocked before any other thread starts.
sigset_t block_stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a write past the limit is an error to answer, not an end
  return set;
}

NodeOptions to_node_options(const ServeOptions& given) {
  NodeOptions options;
  options.data = given.data;
  options.kafka = given.kafka.to_string();
  options.kafka_advertised = given.kafka_advertised;
  options.pg = given.pg.to_string();
  options.pg_fallback = given.pg_may_move;
  options.http = given.http.to_string();
  options.cores = given.cores > 0 ? given.cores : std::max(1u, std::thread::hardware_concurrency());
  auto machine =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  options.memory_bytes = given.memory_bytes > 0 ? given.memory_bytes : machine / 2;
  options.auto_create_topics = given.auto_create_topics;
  options.kafka_connections_max = given.kafka_connections_max;
  options.kafka_idle = given.kafka_idle;
  return options;
}

/// A node holds a file and a socket for much of what it serves: as many as the system allows.
void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    logging::warn("the limit of open files stays as it was", {{"reason", ::strerror(errno)}});
  }
}

}  // namespace

int serve(const ServeArguments& arguments) {
  auto began = std::chrono::steady_clock::now();
  auto given = ServeOptions::load({.flags = arguments.flags, .file = arguments.config_file});
  if (!given) return fail(given.error()), kUsage;
  logging::configure(given->log_level, given->log_format);
  raise_file_limit();
  // An arena a thread would keep what each thread once used; two are enough for a few threads.
  mallopt(M_ARENA_MAX, 2);
  // Large pieces come from the system and go back to it at once. Left to itself, the threshold
  // grows with each that is freed, up to 32 MiB, and the heap keeps holes of that size. What
  // requests of a megabyte need stays: memory that was given back is dear to touch again.
  mallopt(M_MMAP_THRESHOLD, 4 << 20);
  mallopt(M_TRIM_THRESHOLD, 16 << 20);
  sigset_t stop_signals = block_stop_signals();
  auto node = Node::start(to_node_options(*given));
  if (!node) return fail(node.error());
  const auto& at = (*node)->addresses();
  auto spent = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::steady_clock::now() - began);
  logging::info("ready", {{"version", kVersion},
                          {"data", given->data},
                          {"kafka", at.kafka},
                          {"pg", at.pg},
                          {"http", at.http},
                          {"ms", spent.count()}});
  int received = 0;
  sigwait(&stop_signals, &received);
  logging::info("stopping", {{"signal", received == SIGINT ? "SIGINT" : "SIGTERM"}});
  auto stopped = (*node)->stop();
  if (!stopped) return fail(stopped.error());
  logging::info("stopped");
  return kOk;
}

}  // namespace millrace::app
