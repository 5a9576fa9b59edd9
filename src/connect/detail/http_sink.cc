#include <fmt/format.h>

#include "catalog/connector.h"
#include "connect/detail/body.h"
#include "connect/detail/http_client.h"
#include "connect/detail/kinds.h"

namespace millrace::connect {

namespace {

struct HttpSinkOptions {
  HttpEndpoint endpoint;
  BodyFormat format = BodyFormat::kLines;
  size_t records_max = 500;
  std::string topic;
};

/// Sends values to a URL, records of one partition a request. What a server answers with other than
/// 2xx is sent again in a later run: at least once. Each request names its records, so that a
/// server can tell those that it has.
class HttpSink final : public Sink {
 public:
  HttpSink(const HttpSinkOptions& options, const Progress& progress)
      : options_(options), client_(options.endpoint, progress) {}

  Result<std::optional<SinkPosition>> open() override { return std::optional<SinkPosition>(); }

  Result<> write(const Records& records, const SinkPosition&) override {
    for (size_t from = 0; from < records.records.size();) {
      size_t until = from + 1;
      while (until < records.records.size() && until - from < options_.records_max &&
             records.partitions[until] == records.partitions[from]) {
        ++until;
      }
      MR_TRY(send(records, from, until));
      from = until;
    }
    return {};
  }

 private:
  Result<> send(const Records& records, size_t from, size_t until) {
    std::string body = options_.format == BodyFormat::kArray ? "[" : "";
    for (size_t i = from; i < until; ++i) {
      const auto value = records.records[i].value.value_or("null");
      if (options_.format == BodyFormat::kArray) {
        body += (i == from ? "" : ",") + json_element(value);
      } else {
        body += value;
        if (options_.format == BodyFormat::kLines) body += '\n';
      }
    }
    if (options_.format == BodyFormat::kArray) body += ']';
    const auto first = records.records[from].offset, last = records.records[until - 1].offset;
    std::map<std::string, std::string> headers = {
        {"Idempotency-Key",
         fmt::format("{}-{}-{}", options_.topic, records.partitions[from], first)},
        {"Millrace-Offsets", fmt::format("{}-{}", first, last)}};
    if (!options_.endpoint.headers.contains("Content-Type")) {
      headers["Content-Type"] = options_.format == BodyFormat::kLines   ? "application/x-ndjson"
                                : options_.format == BodyFormat::kWhole ? "application/octet-stream"
                                                                        : "application/json";
    }
    MR_TRY(const auto answer, client_.send(headers, std::move(body)));
    if (answer.status >= 200 && answer.status < 300) return {};
    return Error{ErrorCode::kConnectionClosed,
                 fmt::format("{}:{} answered {} to the records {}-{} of partition {}",
                             options_.endpoint.url.host, options_.endpoint.url.port, answer.status,
                             first, last, records.partitions[from])};
  }

  const HttpSinkOptions& options_;
  HttpClient client_;
};

}  // namespace

Result<Recipe> http_sink(Options& given, const catalog::Object& object) {
  auto options = std::make_shared<HttpSinkOptions>();
  MR_TRY(const auto url, given.needed("url", "https://example.com/events"));
  MR_TRY(options->endpoint, HttpEndpoint::take(given, url, "POST"));
  MR_TRY(const auto format, given.one_of("format", "lines", {"array", "lines", "json", "whole"}));
  options->format = body_format(format);
  constexpr int64_t kRecordsMost = 100'000;
  const bool single = options->format == BodyFormat::kJson || options->format == BodyFormat::kWhole;
  MR_TRY(const auto records_max, given.number("batch_records", single ? 1 : 500, 1, kRecordsMost));
  if (single && records_max != 1) {
    return Error{ErrorCode::kInvalidConfig,
                 fmt::format("format = '{}' has one record a request", format), std::nullopt,
                 "Say format = 'lines' or 'array' for several."};
  }
  options->records_max = static_cast<size_t>(records_max);
  options->topic = catalog::option_of(object, catalog::kTopicOption);
  Recipe recipe;
  recipe.sink = [options](const Progress& progress) {
    return std::make_unique<HttpSink>(*options, progress);
  };
  return recipe;
}

}  // namespace millrace::connect
