#include "app/cli.h"
#include "app/kafka_client.h"
#include "app/pg_client.h"

namespace millrace::app {

namespace {

std::string literal(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    out += c;
    if (c == '\'') out += c;
  }
  return out + "'";
}

Result<TextTable> ask(PgClient& client, const std::string& query) {
  TextTable table;
  MR_TRY(client.run(query, [&](PgClient::Answer answer) { table = std::move(answer.table); }));
  return table;
}

Result<> list(PgClient& client, Output output) {
  MR_TRY(const auto table,
         ask(client,
             "SELECT group_id AS \"group\", type, state, protocol, members, lag "
             "FROM millrace.groups LEFT JOIN (SELECT group_id, sum(lag)::BIGINT AS lag FROM "
             "millrace.offsets GROUP BY group_id) USING (group_id) ORDER BY group_id"));
  fmt::print("{}", render(table, output));
  return {};
}

Result<> describe(PgClient& client, const std::string& name, Output output) {
  const auto where = " WHERE group_id = " + literal(name);
  MR_TRY(const auto group,
         ask(client, "SELECT type, state, protocol, generation FROM millrace.groups" + where));
  if (group.rows.empty()) {
    return Error{ErrorCode::kGroupNotFound, fmt::format("there is no group \"{}\"", name)};
  }
  MR_TRY(const auto members, ask(client,
                                 "SELECT member_id AS member, client_id, client_host AS host, "
                                 "array_to_string(assigned, ', ') AS assigned FROM "
                                 "millrace.members" +
                                     where + " ORDER BY 1"));
  MR_TRY(const auto offsets,
         ask(client,
             "SELECT topic, partition, committed_offset, lag, commit_time FROM millrace.offsets" +
                 where + " ORDER BY 1, 2"));
  if (output == Output::kJson) {
    fmt::print("{{\"group\": {}, \"members\": {}, \"offsets\": {}}}\n",
               render(group, Output::kJson), render(members, Output::kJson),
               render(offsets, Output::kJson));
  } else {
    fmt::print("{}\n{}\n{}", render(group, output), render(members, output),
               render(offsets, output));
  }
  return {};
}

Result<> remove(rd_kafka_t* client, const std::string& name) {
  auto* group = rd_kafka_DeleteGroup_new(name.c_str());
  auto event =
      kafka_admin(client, RD_KAFKA_ADMIN_OP_DELETEGROUPS, [&](const auto* options, auto* queue) {
        rd_kafka_DeleteGroups(client, &group, 1, options, queue);
      });
  rd_kafka_DeleteGroup_destroy(group);
  if (!event) return std::move(event).error();
  size_t count = 0;
  const auto* results =
      rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event->get()), &count);
  for (size_t i = 0; i < count; ++i) {
    const auto* failed = rd_kafka_group_result_error(results[i]);
    if (failed) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("group \"{}\": {}", name, rd_kafka_error_string(failed))};
    }
    fmt::print("deleted group {}\n", name);
  }
  return {};
}

/// Numbers in place of "beginning" and "end".
Result<> make_concrete(rd_kafka_t* client, rd_kafka_topic_partition_list_t* list) {
  for (int i = 0; i < list->cnt; ++i) {
    auto& at = list->elems[i];
    int64_t low = 0, high = 0;
    if (auto code = rd_kafka_query_watermark_offsets(client, at.topic, at.partition, &low, &high,
                                                     kKafkaTimeoutMs)) {
      return kafka_error(code, fmt::format("asking for the offsets of {}", at.topic));
    }
    if (at.offset == RD_KAFKA_OFFSET_BEGINNING) at.offset = low;
    if (at.offset == RD_KAFKA_OFFSET_END) at.offset = high;
    if (at.offset < low || at.offset > high) {
      return Error{ErrorCode::kOffsetOutOfRange,
                   fmt::format("partition {} of \"{}\" holds offsets {} to {}, not {}",
                               at.partition, at.topic, low, high, at.offset)};
    }
  }
  return {};
}

Result<> reset(rd_kafka_t* client, const GroupArguments& arguments) {
  MR_TRY(auto metadata, kafka_metadata(client, arguments.topic));
  const auto& topic = metadata->topics[0];
  KafkaPartitions list(rd_kafka_topic_partition_list_new(topic.partition_cnt));
  for (int p = 0; p < topic.partition_cnt; ++p) {
    rd_kafka_topic_partition_list_add(list.get(), arguments.topic.c_str(), topic.partitions[p].id);
  }
  MR_TRY(kafka_choose_offsets(client, "--to", arguments.to, list.get()));
  MR_TRY(make_concrete(client, list.get()));
  if (!arguments.dry_run) {
    auto* alter = rd_kafka_AlterConsumerGroupOffsets_new(arguments.name.c_str(), list.get());
    auto event = kafka_admin(
        client, RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, [&](const auto* options, auto* queue) {
          rd_kafka_AlterConsumerGroupOffsets(client, &alter, 1, options, queue);
        });
    rd_kafka_AlterConsumerGroupOffsets_destroy(alter);
    if (!event) return std::move(event).error();
    size_t count = 0;
    const auto* results = rd_kafka_AlterConsumerGroupOffsets_result_groups(
        rd_kafka_event_AlterConsumerGroupOffsets_result(event->get()), &count);
    for (size_t i = 0; i < count; ++i) {
      std::string failed;
      if (const auto* whole = rd_kafka_group_result_error(results[i])) {
        failed = rd_kafka_error_string(whole);
      }
      const auto* partitions = rd_kafka_group_result_partitions(results[i]);
      for (int p = 0; partitions && p < partitions->cnt && failed.empty(); ++p) {
        if (partitions->elems[p].err) failed = rd_kafka_err2str(partitions->elems[p].err);
      }
      if (failed.empty()) continue;
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("group \"{}\": {}", arguments.name, failed), std::nullopt,
                   "its members must be stopped first"};
    }
  }
  TextTable table({"group", "topic", "partition", "offset"});
  table.numeric = {false, false, true, true};
  for (int i = 0; i < list->cnt; ++i) {
    table.add({arguments.name, arguments.topic, std::to_string(list->elems[i].partition),
               std::to_string(list->elems[i].offset)});
  }
  fmt::print("{}", render(table, arguments.output));
  return {};
}

Result<> run(const Target& target, const GroupArguments& arguments) {
  if (arguments.action == "list" || arguments.action == "describe") {
    MR_TRY(auto client, PgClient::connect(target.pg));
    return arguments.action == "list" ? list(*client, arguments.output)
                                      : describe(*client, arguments.name, arguments.output);
  }
  MR_TRY(auto client, kafka_connect(RD_KAFKA_CONSUMER, target.kafka));
  return arguments.action == "delete" ? remove(client.get(), arguments.name)
                                      : reset(client.get(), arguments);
}

}  // namespace

int group(const GroupArguments& arguments) {
  auto target = resolve(arguments.target);
  if (!target) return fail(target.error());
  auto done = run(*target, arguments);
  return done ? kOk : fail(done.error());
}

int show(const ShowArguments& arguments) {
  auto target = resolve(arguments.target);
  if (!target) return fail(target.error());
  auto client = PgClient::connect(target->pg);
  if (!client) return fail(client.error());
  auto table =
      ask(**client, fmt::format("SELECT * FROM millrace.{} ORDER BY ALL", arguments.table));
  if (!table) return fail(table.error());
  fmt::print("{}", render(*table, arguments.output));
  return kOk;
}

}  // namespace millrace::app
