#include "connect/detail/kinds.h"

#include <fmt/format.h>

#include "catalog/connector.h"

namespace millrace::connect {

Result<Recipe> recipe_of(const catalog::Object& object) {
  const bool source = object.kind == catalog::Kind::kSource;
  const auto kind = catalog::option_of(object, catalog::kConnectorOption);
  Options options(catalog::with_options(object));
  MR_TRY(const auto backoff, Backoff::take(options));
  Result<Recipe> recipe =
      Error{ErrorCode::kNotSupported,
            fmt::format("there is no {} \"{}\"", source ? "source from" : "sink into", kind),
            std::nullopt, "There are kafka and http."};
  if (kind == "kafka") {
    recipe = source ? kafka_source(options, object) : kafka_sink(options, object);
  }
  if (kind == "http") {
    recipe = source ? http_source(options, object) : http_sink(options, object);
  }
  if (!recipe) return recipe;
  if (!source) {
    MR_TRY(const auto start, options.one_of("start", "earliest", {"earliest", "latest"}));
    recipe->from_latest = start == "latest";
  }
  MR_TRY(options.finish(fmt::format("a {} {}", kind, source ? "source" : "sink")));
  recipe->backoff = backoff;
  return recipe;
}

}  // namespace millrace::connect
