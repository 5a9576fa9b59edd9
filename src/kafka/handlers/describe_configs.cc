#include <charconv>

#include "kafka/detail/error_codes.h"
#include "kafka/handlers/configs.h"
#include "kafka/handlers/handlers.h"

namespace millrace::kafka {

namespace {

using Wanted = DescribeConfigsRequest::DescribeConfigsResource;
using Answer = DescribeConfigsResponse::DescribeConfigsResult;
using Config = DescribeConfigsResponse::DescribeConfigsResourceResult;

/// Source: DescribeConfigsResponse.ConfigType.
int8_t type_number(std::string_view type) {
  static constexpr std::string_view kTypes[] = {"",     "BOOLEAN", "STRING", "INT",   "SHORT",
                                                "LONG", "DOUBLE",  "LIST",   "CLASS", "PASSWORD"};
  const auto* at = std::ranges::find(kTypes, type);
  return at == std::end(kTypes) ? 0 : static_cast<int8_t>(at - kTypes);
}

struct Detail {
  bool synonyms;
  bool documentation;
};

bool wanted_key(const Wanted& wanted, std::string_view name) {
  return !wanted.configuration_keys ||
         std::ranges::find(*wanted.configuration_keys, name) != wanted.configuration_keys->end();
}

/// `value` is in force: the resource's own (from `source`) when set, else the default.
Config describe(const broker::ConfigOption& option, std::string value, int8_t source,
                Detail detail) {
  const bool set = source != kDefaultSource;
  Config config;
  config.name = option.name;
  config.value = value;
  config.config_source = source;
  config.config_type = type_number(option.type);
  config.documentation = std::nullopt;
  if (detail.documentation) config.documentation = std::string(option.doc);
  if (!detail.synonyms) return config;
  const auto add = [&](std::string text, int8_t from) {
    auto& synonym = config.synonyms.emplace_back();
    synonym.name = option.name;
    synonym.value = std::move(text);
    synonym.source = from;
  };
  if (set) add(value, source);
  add(set ? std::string(option.default_value) : value, kDefaultSource);
  return config;
}

void describe_topic(const broker::Broker& broker, const Wanted& wanted, Detail detail,
                    Answer& answer) {
  const auto topic = broker.find(wanted.resource_name);
  if (!topic) {
    answer.error_code = wire::kUnknownTopicOrPartition;
    answer.error_message = fmt::format("there is no topic '{}'", wanted.resource_name);
    return;
  }
  auto values = broker::effective_options(topic->object);
  for (const auto& option : broker::topic_options()) {
    if (!wanted_key(wanted, option.name)) continue;
    const std::string name(option.name);
    const bool set = topic->object.options.contains(name);
    answer.configs.push_back(
        describe(option, values[name], set ? kTopicSource : kDefaultSource, detail));
  }
}

void describe_group(const broker::GroupConfigs& configs, const Wanted& wanted, Detail detail,
                    Answer& answer) {
  const auto own = configs.own(wanted.resource_name);
  for (const auto& option : broker::group_options()) {
    if (!wanted_key(wanted, option.name)) continue;
    const bool set = own.contains(std::string(option.name));
    answer.configs.push_back(describe(option, configs.text(wanted.resource_name, option.name),
                                      set ? kGroupSource : kDefaultSource, detail));
  }
}

void describe_node(const Context& context, const Wanted& wanted, Detail detail, Answer& answer) {
  if (!wanted.resource_name.empty() && wanted.resource_name != std::to_string(kNodeId)) {
    answer.error_code = wire::kInvalidRequest;
    answer.error_message =
        fmt::format("there is no node '{}'; this one is {}", wanted.resource_name, kNodeId);
    return;
  }
  if (wanted.resource_name.empty()) return;  // defaults for the whole cluster: none are set
  const auto& options = context.broker().options();
  const auto& limits = context.services.limits;
  struct Row {
    std::string_view name;
    std::string value;
    std::string_view type;
    std::string_view doc;
  };
  const Row rows[] = {
      {"node.id", std::to_string(kNodeId), "INT", "The id of this node"},
      {"num.partitions", std::to_string(options.partitions_default), "INT",
       "Partitions of a topic whose creator does not say"},
      {"default.replication.factor", "1", "INT", "There is one node"},
      {"auto.create.topics.enable", options.auto_create_topics ? "true" : "false", "BOOLEAN",
       "Whether asking for a topic that does not exist creates it"},
      {"socket.request.max.bytes", std::to_string(limits.frame_bytes_max), "INT",
       "The largest request that is read"},
      {"fetch.max.bytes", std::to_string(limits.fetch_bytes_max), "INT",
       "The most that one fetch returns"},
  };
  for (const Row& row : rows) {
    if (!wanted_key(wanted, row.name)) continue;
    Config config = describe({row.name, {}, row.type, row.doc}, row.value, kDefaultSource, detail);
    config.config_source = kStaticBrokerSource;
    config.read_only = true;
    for (auto& synonym : config.synonyms) synonym.source = kStaticBrokerSource;
    answer.configs.push_back(std::move(config));
  }
}

}  // namespace

io::Task<DescribeConfigsResponse> describe_configs(Context& context,
                                                   DescribeConfigsRequest request) {
  const Detail detail{request.include_synonyms, request.include_documentation};
  DescribeConfigsResponse response;
  for (const auto& wanted : request.resources) {
    auto& answer = response.results.emplace_back();
    answer.resource_type = wanted.resource_type;
    answer.resource_name = wanted.resource_name;
    answer.error_message = std::nullopt;
    if (wanted.resource_type == kTopicResource) {
      describe_topic(context.broker(), wanted, detail, answer);
    } else if (wanted.resource_type == kBrokerResource) {
      describe_node(context, wanted, detail, answer);
    } else if (wanted.resource_type == kGroupResource) {
      describe_group(context.group_configs(), wanted, detail, answer);
    } else {
      answer.error_code = wire::kInvalidRequest;
      answer.error_message =
          fmt::format("resources of type {} have no configuration here", wanted.resource_type);
    }
  }
  co_return response;
}

}  // namespace millrace::kafka
