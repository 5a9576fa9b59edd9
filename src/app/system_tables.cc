#include "app/system_tables.h"

#include <duckdb/common/types/timestamp.hpp>

#include "guard/users.h"

namespace millrace::app {

namespace {

using duckdb::LogicalType;
using duckdb::Value;
using Row = std::vector<Value>;
using Rows = std::vector<Row>;

const LogicalType kText = LogicalType::VARCHAR;
const LogicalType kNumber = LogicalType::BIGINT;
const LogicalType kSmall = LogicalType::INTEGER;
const LogicalType kTime = LogicalType::TIMESTAMP_TZ;
const LogicalType kFlag = LogicalType::BOOLEAN;
const LogicalType kTexts = LogicalType::LIST(LogicalType::VARCHAR);

sql::RelationColumn column(std::string name, LogicalType type) {
  return {.name = std::move(name), .type = std::move(type)};
}

Value number(uint64_t n) { return Value::BIGINT(static_cast<int64_t>(n)); }
Value time_or_null(TimestampMs ms) {
  if (ms < 0) return Value(kTime);
  return Value::TIMESTAMPTZ(duckdb::timestamp_tz_t(ms * 1000));
}
Value text_or_null(const std::optional<std::string>& text) {
  return text ? Value(*text) : Value(kText);
}
Value texts(std::vector<std::string> all) {
  duckdb::vector<Value> values;
  for (auto& text : all) values.emplace_back(std::move(text));
  return Value::LIST(kText, std::move(values));
}
std::string name_of_partition(const std::string& topic, int32_t partition) {
  return fmt::format("{}-{}", topic, partition);
}

std::shared_ptr<broker::Partition> find(const broker::Broker& broker, const std::string& topic,
                                        int32_t index) {
  const auto found = broker.find(topic);
  if (!found || index < 0 || static_cast<size_t>(index) >= found->partitions.size()) return nullptr;
  return found->partitions[static_cast<size_t>(index)];
}

sql::SystemTable topics(SystemSources from) {
  return {"topics",
          {column("name", kText), column("kind", kText), column("id", kText),
           column("partitions", kSmall), column("cleanup_policy", kText),
           column("durability", kText), column("records", kNumber), column("bytes", kNumber)},
          [from]() -> Result<Rows> {
            Rows rows;
            for (const auto& topic : from.broker.list()) {
              uint64_t records = 0, bytes = 0;
              for (const auto& partition : topic->partitions) {
                records +=
                    static_cast<uint64_t>(partition->high_watermark() - partition->start_offset());
                bytes += partition->size_bytes();
              }
              const auto& object = topic->object;
              auto options = broker::effective_options(object);
              rows.push_back({Value(object.name), Value(std::string(catalog::name_of(object.kind))),
                              Value(object.id.to_string()), Value::INTEGER(object.partitions),
                              Value(options["cleanup.policy"]), Value(options["durability"]),
                              number(records), number(bytes)});
            }
            return rows;
          }};
}

sql::SystemTable partitions(SystemSources from) {
  return {"partitions",
          {column("topic", kText), column("partition", kSmall), column("start_offset", kNumber),
           column("high_watermark", kNumber), column("last_stable_offset", kNumber),
           column("bytes", kNumber), column("shard", kSmall)},
          [from]() -> Result<Rows> {
            Rows rows;
            for (const auto& topic : from.broker.list()) {
              for (const auto& partition : topic->partitions) {
                rows.push_back({Value(topic->object.name), Value::INTEGER(partition->index()),
                                Value::BIGINT(partition->start_offset()),
                                Value::BIGINT(partition->high_watermark()),
                                Value::BIGINT(partition->last_stable_offset()),
                                number(partition->size_bytes()),
                                Value::INTEGER(static_cast<int32_t>(partition->shard().index()))});
              }
            }
            return rows;
          }};
}

/// Records after `offset`; null when the partition is gone.
Value lag_of(const broker::Broker& broker, const std::string& topic, int32_t partition,
             Offset offset) {
  const auto found = find(broker, topic, partition);
  if (!found || offset < 0) return Value(kNumber);
  return Value::BIGINT(std::max<Offset>(0, found->high_watermark() - offset));
}

sql::SystemTable groups(SystemSources from) {
  return {"groups",
          {column("group_id", kText), column("type", kText), column("state", kText),
           column("protocol_type", kText), column("protocol", kText), column("generation", kNumber),
           column("members", kNumber)},
          [from]() -> Result<Rows> {
            Rows rows;
            for (const auto& group : from.shard.block_on(from.groups.list())) {
              rows.push_back({Value(group.id), Value(std::string(broker::name_of(group.type))),
                              Value(group.state), Value(group.protocol_type), Value(group.protocol),
                              Value::BIGINT(group.generation), number(group.members.size())});
            }
            for (const auto& group : from.shard.block_on(from.share_groups.list())) {
              rows.push_back({Value(group.id), Value("share"), Value(group.state), Value("share"),
                              Value("simple"), Value::BIGINT(group.epoch),
                              number(group.members.size())});
            }
            return rows;
          }};
}

std::string topic_name(const broker::Broker& broker, const Uuid& id) {
  const auto topic = broker.find(id);
  return topic ? topic->object.name : id.to_string();
}

sql::SystemTable members(SystemSources from) {
  return {"members",
          {column("group_id", kText), column("member_id", kText), column("instance_id", kText),
           column("client_id", kText), column("client_host", kText), column("assigned", kTexts)},
          [from]() -> Result<Rows> {
            Rows rows;
            for (const auto& group : from.shard.block_on(from.groups.list())) {
              for (const auto& member : group.members) {
                std::vector<std::string> assigned;
                for (const auto& at : member.assigned) {
                  assigned.push_back(name_of_partition(at.topic, at.partition));
                }
                rows.push_back({Value(group.id), Value(member.member_id),
                                text_or_null(member.instance_id), Value(member.client_id),
                                Value(member.client_host), texts(std::move(assigned))});
              }
            }
            for (const auto& group : from.shard.block_on(from.share_groups.list())) {
              for (const auto& member : group.members) {
                std::vector<std::string> assigned;
                for (const auto& [topic, indexes] : member.assignment) {
                  for (const int32_t index : indexes) {
                    assigned.push_back(name_of_partition(topic_name(from.broker, topic), index));
                  }
                }
                rows.push_back({Value(group.id), Value(member.id), Value(kText),
                                Value(member.client_id), Value(member.client_host),
                                texts(std::move(assigned))});
              }
            }
            return rows;
          }};
}

Result<Rows> offset_rows(const SystemSources& from) {
  Rows rows;
  for (const auto& group : from.shard.block_on(from.groups.list())) {
    for (const auto& [at, committed, pending] : group.offsets) {
      rows.push_back({Value(group.id), Value(at.topic), Value::INTEGER(at.partition),
                      Value::BIGINT(committed.offset),
                      lag_of(from.broker, at.topic, at.partition, committed.offset),
                      Value(committed.metadata), time_or_null(committed.commit_time),
                      Value::BOOLEAN(pending)});
    }
  }
  for (const auto& group : from.shard.block_on(from.share_groups.list())) {
    auto offsets = from.shard.block_on(from.share_groups.offsets(group.id));
    if (!offsets) continue;  // gone meanwhile
    for (const auto& offset : *offsets) {
      rows.push_back({Value(group.id), Value(topic_name(from.broker, offset.id.topic)),
                      Value::INTEGER(offset.id.partition), Value::BIGINT(offset.start),
                      offset.lag < 0 ? Value(kNumber) : Value::BIGINT(offset.lag), Value(""),
                      Value(kTime), Value::BOOLEAN(false)});
    }
  }
  return rows;
}

sql::SystemTable offsets(SystemSources from) {
  return {"offsets",
          {column("group_id", kText), column("topic", kText), column("partition", kSmall),
           column("committed_offset", kNumber), column("lag", kNumber), column("metadata", kText),
           column("commit_time", kTime), column("pending", kFlag)},
          [from] { return offset_rows(from); }};
}

sql::SystemTable transactions(SystemSources from) {
  return {
      "transactions",
      {column("transactional_id", kText), column("state", kText), column("producer_id", kNumber),
       column("producer_epoch", kSmall), column("timeout_ms", kSmall), column("start_time", kTime),
       column("update_time", kTime), column("partitions", kTexts), column("groups", kTexts)},
      [from]() -> Result<Rows> {
        MR_TRY(const auto all, from.shard.block_on(from.transactions.list({})));
        Rows rows;
        for (const auto& transaction : all) {
          std::vector<std::string> held;
          for (const auto& at : transaction.partitions) {
            held.push_back(name_of_partition(at.topic, at.partition));
          }
          rows.push_back(
              {Value(transaction.transactional_id),
               Value(std::string(broker::name_of(transaction.state))),
               Value::BIGINT(transaction.producer.id), Value::INTEGER(transaction.producer.epoch),
               Value::INTEGER(transaction.timeout_ms), time_or_null(transaction.start_time),
               time_or_null(transaction.update_time), texts(std::move(held)),
               texts(transaction.groups)});
        }
        return rows;
      }};
}

sql::SystemTable connections(SystemSources from) {
  return {
      "connections",
      {column("peer", kText), column("client_id", kText), column("user_name", kText),
       column("software", kText), column("shard", kSmall), column("connected_at", kTime),
       column("requests", kNumber), column("received_bytes", kNumber),
       column("sent_bytes", kNumber)},
      [from]() -> Result<Rows> {
        Rows rows;
        for (const auto& each : from.connections()) {
          rows.push_back({Value(each.peer), Value(each.client_id), Value(each.user),
                          Value(each.software), Value::INTEGER(static_cast<int32_t>(each.shard)),
                          time_or_null(each.connected_ms), number(each.requests),
                          number(each.received_bytes), number(each.sent_bytes)});
        }
        return rows;
      }};
}

sql::SystemTable users(SystemSources from) {
  return {"users",
          {column("name", kText), column("mechanisms", kText), column("created_at", kTime),
           column("owner", kText)},
          [from]() -> Result<Rows> {
            Rows rows;
            const auto snapshot = from.catalog.snapshot();
            for (const auto* user : snapshot->users()) {
              rows.push_back({Value(user->name), Value(guard::mechanisms_of(*user)),
                              time_or_null(guard::created_ms(*user)), Value(user->owner)});
            }
            return rows;
          }};
}

sql::SystemTable quotas(SystemSources from) {
  return {"quotas",
          {column("user", kText), column("client_id", kText), column("quota", kText),
           column("value", LogicalType::DOUBLE)},
          [from]() -> Result<Rows> {
            // A quota's entity without a name is for everyone who has none of his own.
            const auto who = [](const broker::QuotaEntity& entity, const std::string& type) {
              const auto at = entity.find(type);
              if (at == entity.end()) return Value(kText);
              return Value(at->second.value_or("<default>"));
            };
            Rows rows;
            for (const auto& row : from.quotas.list()) {
              for (const auto& [quota, value] : row.values) {
                rows.push_back({who(row.entity, "user"), who(row.entity, "client-id"), Value(quota),
                                Value::DOUBLE(value)});
              }
            }
            return rows;
          }};
}

Value moment_or_null(const std::optional<int64_t>& us) {
  return us ? Value::TIMESTAMPTZ(duckdb::timestamp_tz_t(*us)) : Value(kTime);
}

sql::SystemTable views(SystemSources from) {
  return {"views",
          {column("name", kText), column("kind", kText), column("state", kText),
           column("progress", LogicalType::DOUBLE), column("lag", kNumber), column("rows", kNumber),
           column("state_bytes", kNumber), column("epoch", kNumber), column("watermark", kTime),
           column("error", kText)},
          [from]() -> Result<Rows> {
            Rows rows;
            for (const auto& view : from.flows.status()) {
              rows.push_back({Value(view.name), Value(view.kind), Value(view.state),
                              Value::DOUBLE(view.progress), Value::BIGINT(view.lag),
                              number(view.rows), number(view.state_bytes), number(view.epoch),
                              moment_or_null(view.watermark_us),
                              view.error.empty() ? Value(kText) : Value(view.error)});
            }
            return rows;
          }};
}

sql::SystemTable operators(SystemSources from) {
  return {
      "operators",
      {column("view", kText), column("operator", kSmall), column("parent", kSmall),
       column("description", kText), column("rows_in", kNumber), column("rows_out", kNumber),
       column("state_rows", kNumber), column("state_bytes", kNumber), column("watermark", kTime),
       column("late_rows", kNumber), column("busy_ms", LogicalType::DOUBLE)},
      [from]() -> Result<Rows> {
        Rows rows;
        for (const auto& view : from.flows.status()) {
          int32_t index = 0;
          for (const auto& one : view.operators) {
            rows.push_back(
                {Value(view.name), Value::INTEGER(index++),
                 one.parent ? Value::INTEGER(static_cast<int32_t>(*one.parent)) : Value(kSmall),
                 Value(one.description), number(one.rows_in), number(one.rows_out),
                 number(one.state_rows), number(one.state_bytes), moment_or_null(one.watermark_us),
                 number(one.late_rows), Value::DOUBLE(static_cast<double>(one.busy_us) / 1000)});
          }
        }
        return rows;
      }};
}

sql::SystemTable late(SystemSources from) {
  return {"late",
          {column("view", kText), column("rows", kNumber), column("last_seen", kTime),
           column("topic", kText)},
          [from]() -> Result<Rows> {
            Rows rows;
            for (const auto& of : from.flows.status()) {
              if (of.late_rows == 0) continue;
              rows.push_back({Value(of.name), number(of.late_rows),
                              time_or_null(of.late_seen_ms > 0 ? of.late_seen_ms : -1),
                              text_or_null(of.late_topic)});
            }
            return rows;
          }};
}

}  // namespace

std::vector<sql::SystemTable> system_tables(SystemSources sources) {
  std::vector<sql::SystemTable> tables = {
      topics(sources),  partitions(sources),   groups(sources),      members(sources),
      offsets(sources), transactions(sources), connections(sources), users(sources),
      quotas(sources),  views(sources),        operators(sources),   late(sources)};
  for (auto& table : transform_tables(sources)) tables.push_back(std::move(table));
  for (auto& table : connector_tables(sources)) tables.push_back(std::move(table));
  return tables;
}

}  // namespace millrace::app
