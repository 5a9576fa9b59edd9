import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeProducersResult;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.TransactionalIdNotFoundException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.quota.ClientQuotaFilterComponent;

/** What an administrator asks for, by the Java client. */
final class AdminCases {
    private AdminCases() {}

    static ConfigResource topicResource(String topic) {
        return new ConfigResource(ConfigResource.Type.TOPIC, topic);
    }

    static Object alter(Admin admin, ConfigResource resource, AlterConfigOp.OpType operation, String name, String value) throws Exception {
        return admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry(name, value), operation)))).all().get();
    }

    static ConfigEntry option(Admin admin, ConfigResource resource, String name) throws Exception {
        return admin.describeConfigs(List.of(resource)).all().get().get(resource).get(name);
    }

    @Harness.Case
    static void admin_topics(Harness.Run t) throws Exception {
        try (Admin admin = ClientCases.admin(t)) {
            var made = admin.createTopics(List.of(new NewTopic(t.topic, 3, (short) 1).configs(Map.of("retention.ms", "1000000"))));
            made.all().get();
            Uuid id = made.topicId(t.topic).get();
            Harness.expect("partitions as created", made.numPartitions(t.topic).get(), 3);
            Harness.expect("option as created", made.config(t.topic).get().get("retention.ms").value(), "1000000");
            TopicDescription described = admin.describeTopics(List.of(t.topic)).allTopicNames().get().get(t.topic);
            Harness.expect("id", described.topicId(), id);
            Harness.expect("partitions", described.partitions().size(), 3);
            Harness.expect("by id", admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get().get(id).name(), t.topic);
            Harness.check("listed", admin.listTopics().names().get().contains(t.topic));
            Harness.expectFailure("a second one", () -> admin.createTopics(List.of(new NewTopic(t.topic, 1, (short) 1))).all().get(), TopicExistsException.class);
            Harness.expectFailure("a bad name", () -> admin.createTopics(List.of(new NewTopic("a b", 1, (short) 1))).all().get(), InvalidTopicException.class);
            String bad = t.topic + "-bad";
            Harness.expectFailure("three replicas", () -> admin.createTopics(List.of(new NewTopic(bad, 1, (short) 3))).all().get(), InvalidReplicationFactorException.class);
            Harness.expectFailure("no partition", () -> admin.createTopics(List.of(new NewTopic(bad, 0, (short) 1))).all().get(), InvalidPartitionsException.class);
            Harness.expectFailure("a bad option", () -> admin.createTopics(List.of(new NewTopic(bad, 1, (short) 1).configs(Map.of("cleanup.policy", "burn")))).all().get(),
                                  InvalidConfigurationException.class);
            admin.createTopics(List.of(new NewTopic(bad, 1, (short) 1)), new CreateTopicsOptions().validateOnly(true)).all().get();
            Harness.check("only validated", !admin.listTopics().names().get().contains(bad));
            Harness.expectFailure("describe a missing one", () -> admin.describeTopics(List.of(bad)).allTopicNames().get(), UnknownTopicOrPartitionException.class);
            admin.createTopics(List.of(new NewTopic(bad, Optional.empty(), Optional.empty()))).all().get();  // the broker's defaults
            admin.deleteTopics(List.of(bad)).all().get();
            admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
            Harness.waitUntil("the deletion", () -> !admin.listTopics().names().get().contains(t.topic));
            Harness.expectFailure("delete it again", () -> admin.deleteTopics(List.of(t.topic)).all().get(), UnknownTopicOrPartitionException.class);
            Harness.expectFailure("delete it again by id", () -> admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get(), UnknownTopicIdException.class);
        }
    }

    /** A topic of the same name is another topic: its records and its id are new. */
    @Harness.Case
    static void admin_topic_made_again(Harness.Run t) throws Exception {
        ClientCases.create(t, t.topic, 1);
        ClientCases.produce(t, t.topic, 1, List.of("old"));
        try (Admin admin = ClientCases.admin(t); var producer = ClientCases.producer(t, "metadata.max.age.ms", 1000)) {
            producer.send(new ProducerRecord<>(t.topic, ClientCases.bytes("old too"))).get();
            admin.deleteTopics(List.of(t.topic)).all().get();
            Harness.waitUntil("the deletion", () -> !admin.listTopics().names().get().contains(t.topic));
            ClientCases.create(t, t.topic, 1);
            producer.send(new ProducerRecord<>(t.topic, ClientCases.bytes("new"))).get();
        }
        Harness.expect("values", ClientCases.values(ClientCases.readAll(t, t.topic, 1)), List.of("new"));
    }

    @Harness.Case
    static void admin_configs(Harness.Run t) throws Exception {
        ClientCases.create(t, t.topic, 1, "retention.ms", "1000000");
        var topic = topicResource(t.topic);
        try (Admin admin = ClientCases.admin(t)) {
            Harness.expect("retention.ms", option(admin, topic, "retention.ms").value(), "1000000");
            Harness.expect("its source", option(admin, topic, "retention.ms").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
            Harness.expect("a default's source", option(admin, topic, "cleanup.policy").isDefault(), true);
            alter(admin, topic, AlterConfigOp.OpType.SET, "max.message.bytes", "20000");
            Harness.waitUntil("the new value", () -> option(admin, topic, "max.message.bytes").value().equals("20000"));
            alter(admin, topic, AlterConfigOp.OpType.APPEND, "cleanup.policy", "compact");
            Harness.waitUntil("the appended value", () -> Set.of(option(admin, topic, "cleanup.policy").value().split(",")).equals(Set.of("delete", "compact")));
            alter(admin, topic, AlterConfigOp.OpType.SUBTRACT, "cleanup.policy", "delete");
            Harness.waitUntil("the subtracted value", () -> option(admin, topic, "cleanup.policy").value().equals("compact"));
            alter(admin, topic, AlterConfigOp.OpType.DELETE, "retention.ms", null);
            Harness.waitUntil("the default", () -> option(admin, topic, "retention.ms").value().equals("604800000"));
            for (String[] wrong : new String[][] {{"retention.ms", "a week"}, {"compression.type", "rar"}, {"no.such.option", "1"}, {"min.cleanable.dirty.ratio", "2"}})
                Harness.expectFailure(wrong[0] + "=" + wrong[1], () -> alter(admin, topic, AlterConfigOp.OpType.SET, wrong[0], wrong[1]), InvalidConfigurationException.class);
            Harness.expectFailure("of a missing topic", () -> option(admin, topicResource(t.topic + "-missing"), "retention.ms"), UnknownTopicOrPartitionException.class);
            Harness.check("listed", admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all().get()
                                        .contains(topic));
            String broker = admin.describeCluster().nodes().get().iterator().next().idString();
            Config all = admin.describeConfigs(List.of(new ConfigResource(ConfigResource.Type.BROKER, broker))).all().get().values().iterator().next();
            Harness.check("a broker's options", all.get("num.partitions") != null);
        }
    }

    @Harness.Case
    static void admin_group_configs(Harness.Run t) throws Exception {
        var group = new ConfigResource(ConfigResource.Type.GROUP, t.group);
        try (Admin admin = ClientCases.admin(t)) {
            alter(admin, group, AlterConfigOp.OpType.SET, "consumer.session.timeout.ms", "50000");
            Harness.waitUntil("the new value", () -> option(admin, group, "consumer.session.timeout.ms").value().equals("50000"));
            Harness.expectFailure("out of the broker's range", () -> alter(admin, group, AlterConfigOp.OpType.SET, "consumer.session.timeout.ms", "1"),
                                  InvalidConfigurationException.class);
            alter(admin, group, AlterConfigOp.OpType.DELETE, "consumer.session.timeout.ms", null);
            Harness.waitUntil("the default", () -> option(admin, group, "consumer.session.timeout.ms").value().equals("45000"));
        }
    }

    @Harness.Case
    static void admin_partitions_and_records(Harness.Run t) throws Exception {
        ClientCases.create(t, t.topic, 2);
        try (Admin admin = ClientCases.admin(t)) {
            admin.createPartitions(Map.of(t.topic, NewPartitions.increaseTo(5))).all().get();
            Harness.waitUntil("the partitions", () -> admin.describeTopics(List.of(t.topic)).allTopicNames().get().get(t.topic).partitions().size() == 5);
            Harness.expectFailure("fewer", () -> admin.createPartitions(Map.of(t.topic, NewPartitions.increaseTo(3))).all().get(), InvalidPartitionsException.class);
            var at = new TopicPartition(t.topic, 0);
            ClientCases.produce(t, t.topic, 1, ClientCases.numbers(0, 100));
            Harness.expect("low watermark", admin.deleteRecords(Map.of(at, RecordsToDelete.beforeOffset(60))).lowWatermarks().get(at).get().lowWatermark(), 60L);
            Harness.expect("earliest", admin.listOffsets(Map.of(at, OffsetSpec.earliest())).partitionResult(at).get().offset(), 60L);
            Harness.expect("latest", admin.listOffsets(Map.of(at, OffsetSpec.latest())).partitionResult(at).get().offset(), 100L);
            Harness.check("max timestamp", admin.listOffsets(Map.of(at, OffsetSpec.maxTimestamp())).partitionResult(at).get().timestamp() > 0);
            Harness.expect("latest of what is committed", admin.listOffsets(Map.of(at, OffsetSpec.latest()), new ListOffsetsOptions(IsolationLevel.READ_COMMITTED))
                                                              .partitionResult(at).get().offset(), 100L);
            Harness.expectFailure("beyond the end", () -> admin.deleteRecords(Map.of(at, RecordsToDelete.beforeOffset(101))).all().get(), OffsetOutOfRangeException.class);
            Harness.expect("what is left", ClientCases.values(ClientCases.readAll(t, t.topic, 1)), ClientCases.numbers(60, 100));
            admin.deleteRecords(Map.of(at, RecordsToDelete.beforeOffset(-1))).all().get();
            Harness.expect("nothing is left", ClientCases.readAll(t, t.topic, 1).size(), 0);
            Harness.expect("and offsets go on", ClientCases.produce(t, t.topic, 1, List.of("x")).get(0).offset(), 100L);
        }
    }

    @Harness.Case
    static void admin_classic_group(Harness.Run t) throws Exception {
        ClientCases.create(t, t.topic, 2);
        ClientCases.produce(t, t.topic, 2, ClientCases.numbers(0, 100));
        try (Admin admin = ClientCases.admin(t)) {
            var member = new ClientCases.Member(ClientCases.classic(t, "client.id", t.topic + "-client", "group.instance.id", "one"), t.topic);
            Harness.waitUntil("the records", () -> member.records.size() == 100 && ClientCases.shares(List.of(member), 2));
            var group = admin.describeConsumerGroups(List.of(t.group)).all().get().get(t.group);
            Harness.expect("state", group.groupState(), GroupState.STABLE);
            Harness.expect("type", group.type(), GroupType.CLASSIC);
            Harness.expect("assignor", group.partitionAssignor(), "range");
            var described = group.members().iterator().next();
            Harness.expect("client", described.clientId(), t.topic + "-client");
            Harness.expect("instance", described.groupInstanceId().get(), "one");
            Harness.expect("assignment", described.assignment().topicPartitions(), new HashSet<>(ClientCases.partitions(t.topic, 2)));
            Harness.check("listed", admin.listGroups(ListGroupsOptions.forConsumerGroups().inGroupStates(Set.of(GroupState.STABLE))).all().get().stream()
                                        .anyMatch(g -> g.groupId().equals(t.group) && g.protocol().equals("consumer")));
            Harness.expectFailure("delete while it has members", () -> admin.deleteConsumerGroups(List.of(t.group)).all().get(), GroupNotEmptyException.class);
            member.leave();  // a static member stays in the group until its session ends, or it is removed
            admin.removeMembersFromConsumerGroup(t.group, new RemoveMembersFromConsumerGroupOptions()).all().get();
            Harness.waitUntil("the empty group", () -> admin.describeConsumerGroups(List.of(t.group)).all().get().get(t.group).groupState() == GroupState.EMPTY);
            Map<TopicPartition, Long> wanted = Map.of(new TopicPartition(t.topic, 0), 50L, new TopicPartition(t.topic, 1), 50L);
            Harness.expect("offsets", offsets(admin, t.group), wanted);
            admin.deleteConsumerGroups(List.of(t.group)).all().get();
            Harness.expectFailure("delete it again", () -> admin.deleteConsumerGroups(List.of(t.group)).all().get(), GroupIdNotFoundException.class);
            Harness.check("no longer listed", admin.listGroups().all().get().stream().noneMatch(g -> g.groupId().equals(t.group)));
            Harness.expectFailure("describe it", () -> admin.describeConsumerGroups(List.of(t.group)).all().get(), GroupIdNotFoundException.class);
        }
    }

    static Map<TopicPartition, Long> offsets(Admin admin, String group) throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().entrySet().stream()
            .filter(e -> e.getValue() != null).collect(Collectors.toMap(Map.Entry::getKey, e -> e.getValue().offset()));
    }

    @Harness.Case
    static void admin_kip848_group(Harness.Run t) throws Exception {
        ClientCases.create(t, t.topic, 2);
        try (Admin admin = ClientCases.admin(t)) {
            var member = new ClientCases.Member(ClientCases.kip848(t), t.topic);
            Harness.waitUntil("the assignment", () -> ClientCases.shares(List.of(member), 2));
            Harness.waitUntil("the stable group", () -> admin.describeConsumerGroups(List.of(t.group)).all().get().get(t.group).groupState() == GroupState.STABLE);
            var group = admin.describeConsumerGroups(List.of(t.group)).all().get().get(t.group);
            Harness.expect("type", group.type(), GroupType.CONSUMER);
            Harness.expect("assignor", group.partitionAssignor(), "uniform");
            var described = group.members().iterator().next();
            Harness.expect("assignment", described.assignment().topicPartitions(), new HashSet<>(ClientCases.partitions(t.topic, 2)));
            Harness.expect("target", described.targetAssignment().get().topicPartitions(), new HashSet<>(ClientCases.partitions(t.topic, 2)));
            Harness.check("epochs", group.groupEpoch().get() > 0 && described.memberEpoch().get().equals(group.targetAssignmentEpoch().get()));
            Harness.check("listed by type", admin.listGroups(new ListGroupsOptions().withTypes(Set.of(GroupType.CONSUMER))).all().get().stream()
                                                .anyMatch(g -> g.groupId().equals(t.group)));
            Harness.check("not listed as classic", admin.listGroups(new ListGroupsOptions().withTypes(Set.of(GroupType.CLASSIC))).all().get().stream()
                                                       .noneMatch(g -> g.groupId().equals(t.group)));
            Harness.expectFailure("delete while it has members", () -> admin.deleteConsumerGroups(List.of(t.group)).all().get(), GroupNotEmptyException.class);
            member.leave();
            Harness.waitUntil("the deletion", () -> {
                try {
                    admin.deleteConsumerGroups(List.of(t.group)).all().get();
                    return true;
                } catch (ExecutionException notYet) {
                    Harness.check("empty or not yet", notYet.getCause() instanceof GroupNotEmptyException);
                    return false;
                }
            });
        }
    }

    @Harness.Case
    static void admin_group_offsets(Harness.Run t) throws Exception {
        ClientCases.create(t, t.topic, 2);
        ClientCases.create(t, t.topic + "-more", 1);
        var zero = new TopicPartition(t.topic, 0);
        var more = new TopicPartition(t.topic + "-more", 0);
        try (Admin admin = ClientCases.admin(t)) {
            admin.alterConsumerGroupOffsets(t.group, Map.of(zero, new OffsetAndMetadata(5), more, new OffsetAndMetadata(9, "note"))).all().get();
            Harness.expect("offsets", offsets(admin, t.group), Map.of(zero, 5L, more, 9L));
            var some = admin.listConsumerGroupOffsets(Map.of(t.group, new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(more)))).all().get().get(t.group);
            Harness.expect("with metadata", some.get(more).metadata(), "note");
            admin.deleteConsumerGroupOffsets(t.group, Set.of(zero)).all().get();
            Harness.expect("offsets after a deletion", offsets(admin, t.group), Map.of(more, 9L));
            var member = new ClientCases.Member(ClientCases.classic(t), t.topic);
            Harness.waitUntil("the assignment", () -> ClientCases.shares(List.of(member), 2));
            Harness.expectFailure("alter those of a group at work", () -> admin.alterConsumerGroupOffsets(t.group, Map.of(zero, new OffsetAndMetadata(1))).all().get(),
                                  UnknownMemberIdException.class);
            Harness.expectFailure("delete what a member reads", () -> admin.deleteConsumerGroupOffsets(t.group, Set.of(zero)).all().get(), GroupSubscribedToTopicException.class);
            admin.deleteConsumerGroupOffsets(t.group, Set.of(more)).all().get();
            member.leave();
            admin.deleteTopics(List.of(t.topic)).all().get();
            Harness.waitUntil("a deleted topic's offsets go with it", () -> offsets(admin, t.group).isEmpty());
        }
    }

    @Harness.Case
    static void admin_producers_and_transactions(Harness.Run t) throws Exception {
        ClientCases.create(t, t.topic, 1);
        var at = new TopicPartition(t.topic, 0);
        try (Admin admin = ClientCases.admin(t); var producer = ClientCases.transactional(t)) {
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(t.topic, 0, null, ClientCases.bytes("x"))).get();
            var described = admin.describeTransactions(List.of(t.transactionalId)).all().get().get(t.transactionalId);
            Harness.expect("state", described.state(), TransactionState.ONGOING);
            Harness.expect("partitions", described.topicPartitions(), Set.of(at));
            DescribeProducersResult.PartitionProducerState state = admin.describeProducers(List.of(at)).all().get().get(at);
            var active = state.activeProducers().get(0);
            Harness.expect("producer", active.producerId(), described.producerId());
            Harness.expect("start of its transaction", active.currentTransactionStartOffset().getAsLong(), 0L);
            Harness.expect("last sequence", active.lastSequence(), 0);
            Harness.check("listed", admin.listTransactions(new ListTransactionsOptions().filterStates(Set.of(TransactionState.ONGOING))).all().get().stream()
                                        .anyMatch(x -> x.transactionalId().equals(t.transactionalId)));
            producer.commitTransaction();
            Harness.waitUntil("its end", () -> admin.describeTransactions(List.of(t.transactionalId)).all().get().get(t.transactionalId).state() == TransactionState.COMPLETE_COMMIT);
            Harness.waitUntil("no open transaction", () -> admin.describeProducers(List.of(at)).all().get().get(at).activeProducers().stream()
                                                               .allMatch(p -> p.currentTransactionStartOffset().isEmpty()));
            Harness.expectFailure("a missing one", () -> admin.describeTransactions(List.of(t.transactionalId + "-none")).all().get(), TransactionalIdNotFoundException.class);
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(t.topic, 0, null, ClientCases.bytes("to be fenced"))).get();
            admin.fenceProducers(List.of(t.transactionalId)).all().get();
            Harness.expectFailure("the fenced producer", () -> {
                producer.send(new ProducerRecord<>(t.topic, 0, null, ClientCases.bytes("y"))).get();
                producer.commitTransaction();
                return null;
            }, ProducerFencedException.class, InvalidProducerEpochException.class);
        }
        Harness.expect("read_committed", ClientCases.committed(t, t.topic, 1, 1), List.of("x"));
    }

    @Harness.Case
    static void admin_log_dirs(Harness.Run t) throws Exception {
        ClientCases.create(t, t.topic, 2);
        ClientCases.produce(t, t.topic, 1, List.of("x".repeat(100_000)), "compression.type", "none");
        try (Admin admin = ClientCases.admin(t)) {
            int broker = admin.describeCluster().nodes().get().iterator().next().id();
            var dirs = admin.describeLogDirs(List.of(broker)).allDescriptions().get().get(broker);
            var found = dirs.values().stream().flatMap(d -> d.replicaInfos().entrySet().stream()).filter(e -> e.getKey().topic().equals(t.topic))
                            .collect(Collectors.toMap(e -> e.getKey().partition(), e -> e.getValue().size()));
            Harness.expect("partitions", found.keySet(), Set.of(0, 1));
            Harness.check("size of what has a record: " + found, found.get(0) >= 100_000);
            Harness.check("size of what has none: " + found, found.get(1) < 100_000);
            Harness.check("the volume", dirs.values().iterator().next().totalBytes().getAsLong() > 0);
        }
    }

    @Harness.Case
    static void admin_cluster(Harness.Run t) throws Exception {
        ClientCases.create(t, t.topic, 1);
        try (Admin admin = ClientCases.admin(t)) {
            var cluster = admin.describeCluster();
            Harness.check("cluster id", !cluster.clusterId().get().isEmpty());
            Harness.expect("nodes", cluster.nodes().get().stream().map(n -> n.host() + ":" + n.port()).collect(Collectors.toList()), List.of(t.bootstrap));
            Harness.expect("controller", cluster.controller().get().id(), cluster.nodes().get().iterator().next().id());
            var features = admin.describeFeatures().featureMetadata().get().finalizedFeatures();
            Harness.expect("transactions", (int) features.get("transaction.version").maxVersionLevel(), 2);
            Harness.expect("groups", (int) features.get("group.version").maxVersionLevel(), 1);
            Harness.expect("share groups", (int) features.get("share.version").maxVersionLevel(), 1);
            var quorum = admin.describeMetadataQuorum().quorumInfo().get();
            Harness.expect("voters", quorum.voters().size(), 1);
            Harness.expect("leader", quorum.leaderId(), quorum.voters().get(0).replicaId());
            Harness.expect("reassignments", admin.listPartitionReassignments().reassignments().get(), Map.of());
            var at = new TopicPartition(t.topic, 0);
            var elected = admin.electLeaders(ElectionType.PREFERRED, Set.of(at)).partitions().get().get(at);
            Harness.check("election", elected.isEmpty() || elected.get() instanceof ElectionNotNeededException);
        }
    }

    @Harness.Case
    static void admin_quotas(Harness.Run t) throws Exception {
        String client = t.topic + "-client";
        var entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, client));
        try (Admin admin = ClientCases.admin(t)) {
            admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(new ClientQuotaAlteration.Op("producer_byte_rate", 100_000.0),
                                                                                      new ClientQuotaAlteration.Op("request_percentage", 150.0))))).all().get();
            var filter = ClientQuotaFilter.contains(List.of(ClientQuotaFilterComponent.ofEntity(ClientQuotaEntity.CLIENT_ID, client)));
            Harness.waitUntil("the quotas", () -> Map.of("producer_byte_rate", 100_000.0, "request_percentage", 150.0)
                                                      .equals(admin.describeClientQuotas(filter).entities().get().get(entity)));
            Harness.expectFailure("an unknown quota", () -> admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(
                                      new ClientQuotaAlteration.Op("patience", 1.0))))).all().get(), InvalidRequestException.class);
            ClientCases.create(t, t.topic, 1);
            try (var producer = ClientCases.producer(t, "client.id", client, "compression.type", "none")) {
                // 1.5 MB: what a window of ten seconds at 100 kB/s grants, and half of that again
                for (int i = 0; i < 30; i++) producer.send(new ProducerRecord<>(t.topic, 0, null, new byte[50_000])).get();
                double throttled = producer.metrics().entrySet().stream().filter(m -> m.getKey().name().equals("produce-throttle-time-max"))
                                       .mapToDouble(m -> (Double) m.getValue().metricValue()).max().getAsDouble();
                Harness.check("throttled for " + throttled + " ms", throttled > 0);
            }
            Harness.expect("nothing is lost", ClientCases.readAll(t, t.topic, 1).size(), 30);
            admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(new ClientQuotaAlteration.Op("producer_byte_rate", null),
                                                                                      new ClientQuotaAlteration.Op("request_percentage", null))))).all().get();
            Harness.waitUntil("no quotas", () -> admin.describeClientQuotas(filter).entities().get().isEmpty());
        }
    }
}
