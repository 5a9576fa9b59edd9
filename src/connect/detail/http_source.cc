#include <fmt/format.h>
#include <openssl/sha.h>

#include <cstdlib>
#include <thread>

#include "connect/detail/body.h"
#include "connect/detail/http_client.h"
#include "connect/detail/kinds.h"

namespace millrace::connect {

namespace {

/// What one call of a transform has time for.
constexpr size_t kRecordsMax = 4096;

struct HttpSourceOptions {
  HttpEndpoint endpoint;
  std::string body;  // of the request
  BodyFormat format = BodyFormat::kJson;
  std::chrono::milliseconds interval{10'000};
};

/// Asks a URL now and then, and reads each version of what it answers once. A version is told by
/// its ETag or Last-Modified, else by its bytes.
class HttpSource final : public Source {
 public:
  HttpSource(const HttpSourceOptions& options, const Progress& progress)
      : options_(options), client_(options.endpoint, progress) {}

  Result<Position> open(const Position& position) override {
    kept_ = done_ = position;
    return Position();
  }

  Result<> read(SourceBatch& out, std::chrono::milliseconds wait) override {
    const auto now = std::chrono::steady_clock::now();
    if (next_ == values_.size()) {
      if (now < ask_at_) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(ask_at_ - now);
        std::this_thread::sleep_for(std::min(wait, left));
        return {};
      }
      ask_at_ = now + options_.interval;
      MR_TRY(ask());
    }
    const size_t first = next_;
    while (next_ < values_.size() && next_ - first < kRecordsMax) {
      wasm::RecordView record;
      record.timestamp = -1;
      record.value = values_[next_++];
      out.records.add(record, -1);
    }
    auto position = done_;
    // A run that ends between two batches of one version goes on behind those that were kept.
    if (next_ < values_.size()) position[kRecords] = std::to_string(next_);
    if (position != kept_) out.moved = kept_ = std::move(position);
    return {};
  }

 private:
  static constexpr const char* kVersion = "version";
  static constexpr const char* kRecords = "records";  // of the version that were kept; 0: all
  static constexpr const char* kEtag = "etag";
  static constexpr const char* kModified = "last_modified";

  std::string last(const char* name) const {
    const auto found = kept_.find(name);
    return found == kept_.end() ? std::string() : found->second;
  }

  Result<> ask() {
    const auto part = std::strtoull(last(kRecords).c_str(), nullptr, 10);
    std::map<std::string, std::string> more;
    // A version of which a part was kept is asked for again, whole.
    if (const auto etag = last(kEtag); part == 0 && !etag.empty()) more["If-None-Match"] = etag;
    if (const auto at = last(kModified); part == 0 && !at.empty()) more["If-Modified-Since"] = at;
    MR_TRY(const auto answer, client_.send(more, options_.body));
    if (answer.status == 304) return {};
    if (answer.status < 200 || answer.status > 299) {
      return Error{ErrorCode::kConnectionClosed,
                   fmt::format("{}:{} answered {}", options_.endpoint.url.host,
                               options_.endpoint.url.port, answer.status)};
    }
    const auto version = hash_of(answer.body);
    const bool same = last(kVersion) == version;
    done_ = {{kEtag, answer.etag},
             {kModified, answer.last_modified},
             {kVersion, version},
             {kRecords, "0"}};
    values_.clear();
    next_ = 0;
    if (same && part == 0) return {};
    MR_TRY(values_, values_of(options_.format, answer.body));
    if (same) next_ = std::min<size_t>(values_.size(), part);
    return {};
  }

  static std::string hash_of(std::string_view body) {
    unsigned char hash[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(body.data()), body.size(), hash);
    std::string out;
    for (const auto byte : hash) fmt::format_to(std::back_inserter(out), "{:02x}", byte);
    return out;
  }

  const HttpSourceOptions& options_;
  HttpClient client_;
  Position kept_;  // with the last batch
  Position done_;  // once all of `values_` is kept
  std::vector<std::string> values_;
  size_t next_ = 0;
  std::chrono::steady_clock::time_point ask_at_;
};

}  // namespace

Result<Recipe> http_source(Options& given, const catalog::Object&) {
  auto options = std::make_shared<HttpSourceOptions>();
  MR_TRY(const auto format, given.one_of("format", "json", {"array", "lines", "json", "whole"}));
  options->format = body_format(format);
  Recipe recipe;
  recipe.format = options->format;
  const auto url = given.text("url");
  recipe.polls = url.has_value();
  if (!url) return recipe;
  MR_TRY(options->endpoint, HttpEndpoint::take(given, *url, "GET"));
  options->body = given.text("body").value_or("");
  constexpr std::chrono::milliseconds kLeast(100);
  MR_TRY(options->interval, given.interval("interval", options->interval, kLeast));
  recipe.source = [options](const Progress& progress) {
    return std::make_unique<HttpSource>(*options, progress);
  };
  return recipe;
}

}  // namespace millrace::connect
