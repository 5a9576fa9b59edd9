import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Share groups (KIP-932): a queue with acknowledgement of each record. */
final class ShareCases {
    private ShareCases() {}

    static void fromTheBeginning(Harness.Run t, String... more) throws Exception {
        try (Admin admin = ClientCases.admin(t)) {
            var group = new ConfigResource(ConfigResource.Type.GROUP, t.group);
            AdminCases.alter(admin, group, AlterConfigOp.OpType.SET, "share.auto.offset.reset", "earliest");
            for (int i = 0; i < more.length; i += 2) AdminCases.alter(admin, group, AlterConfigOp.OpType.SET, more[i], more[i + 1]);
        }
    }

    static KafkaShareConsumer<byte[], byte[]> consumer(Harness.Run t, Object... more) {
        var consumer = new KafkaShareConsumer<>(ClientCases.with(Map.of("bootstrap.servers", t.bootstrap, "group.id", t.group), more),
                                                new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.subscribe(List.of(t.topic));
        return consumer;
    }

    static KafkaShareConsumer<byte[], byte[]> explicit(Harness.Run t, Object... more) {
        var all = new ArrayList<Object>(List.of("share.acknowledgement.mode", "explicit"));
        all.addAll(List.of(more));
        return consumer(t, all.toArray());
    }

    /** Polls until records come. */
    static List<ConsumerRecord<byte[], byte[]>> some(KafkaShareConsumer<byte[], byte[]> consumer) {
        long deadline = System.nanoTime() + 40_000_000_000L;
        while (System.nanoTime() < deadline) {
            var found = new ArrayList<ConsumerRecord<byte[], byte[]>>();
            consumer.poll(ClientCases.TICK).forEach(found::add);
            if (!found.isEmpty()) return found;
        }
        throw new AssertionError("no record came");
    }

    static void commit(KafkaShareConsumer<byte[], byte[]> consumer) {
        consumer.commitSync().forEach((partition, error) -> {
            if (error.isPresent()) throw new AssertionError("acknowledging in " + partition, error.get());
        });
    }

    static void nothingMore(KafkaShareConsumer<byte[], byte[]> consumer) {
        for (int i = 0; i < 10; i++) {
            var found = consumer.poll(ClientCases.TICK);
            Harness.check("a record too many: " + found.count(), found.isEmpty());
        }
    }

    @Harness.Case
    static void share_implicit_acknowledgement(Harness.Run t) throws Exception {
        fromTheBeginning(t);
        ClientCases.create(t, t.topic, 2);
        ClientCases.produce(t, t.topic, 2, ClientCases.numbers(0, 500));
        List<String> seen = new ArrayList<>();
        try (var consumer = consumer(t)) {
            while (seen.size() < 500) {
                for (var r : some(consumer)) {
                    seen.add(ClientCases.text(r.value()));
                    Harness.expect("delivery count", (int) r.deliveryCount().get(), 1);
                }
            }
            commit(consumer);
        }
        Harness.expect("each once", new TreeSet<>(seen), new TreeSet<>(ClientCases.numbers(0, 500)));
        Harness.expect("count", seen.size(), 500);
        ClientCases.produce(t, t.topic, 2, List.of("later"));
        try (var consumer = consumer(t)) {
            Harness.expect("what came since", ClientCases.values(some(consumer)), List.of("later"));
        }
    }

    @Harness.Case
    static void share_accept_release_reject(Harness.Run t) throws Exception {
        fromTheBeginning(t);
        ClientCases.create(t, t.topic, 1);
        ClientCases.produce(t, t.topic, 1, ClientCases.numbers(0, 30));
        try (var consumer = explicit(t)) {
            Map<String, Integer> first = new HashMap<>();
            while (first.size() < 30) {
                for (var r : some(consumer)) {
                    if (r.deliveryCount().get() > 1) {  // released in an earlier round of this loop
                        consumer.acknowledge(r, AcknowledgeType.RELEASE);
                        continue;
                    }
                    int n = Integer.parseInt(ClientCases.text(r.value()));
                    first.put("" + n, 1);
                    consumer.acknowledge(r, n % 3 == 0 ? AcknowledgeType.ACCEPT : n % 3 == 1 ? AcknowledgeType.RELEASE : AcknowledgeType.REJECT);
                }
                commit(consumer);
            }
            Set<String> again = new TreeSet<>();
            while (again.size() < 10) {
                for (var r : some(consumer)) {
                    Harness.check("only what was released comes again: " + ClientCases.text(r.value()), Integer.parseInt(ClientCases.text(r.value())) % 3 == 1);
                    Harness.check("delivery count", r.deliveryCount().get() >= 2);
                    again.add(ClientCases.text(r.value()));
                    consumer.acknowledge(r, AcknowledgeType.ACCEPT);
                }
                commit(consumer);
            }
            nothingMore(consumer);
        }
    }

    /** A record that is released five times (the default limit) is not delivered a sixth time. */
    @Harness.Case
    static void share_delivery_limit(Harness.Run t) throws Exception {
        fromTheBeginning(t);
        ClientCases.create(t, t.topic, 1);
        ClientCases.produce(t, t.topic, 1, List.of("poison"));
        try (var consumer = explicit(t)) {
            for (int delivery = 1; delivery <= 5; delivery++) {
                var r = some(consumer).get(0);
                Harness.expect("value", ClientCases.text(r.value()), "poison");
                Harness.expect("delivery count", (int) r.deliveryCount().get(), delivery);
                consumer.acknowledge(r, AcknowledgeType.RELEASE);
                commit(consumer);
            }
            nothingMore(consumer);
            ClientCases.produce(t, t.topic, 1, List.of("good"));
            Harness.expect("the next one", ClientCases.values(some(consumer)), List.of("good"));
        }
    }

    /** What a consumer holds when it goes away comes to another one. */
    @Harness.Case
    static void share_close_releases(Harness.Run t) throws Exception {
        fromTheBeginning(t);
        ClientCases.create(t, t.topic, 1);
        ClientCases.produce(t, t.topic, 1, ClientCases.numbers(0, 10));
        Set<String> held = new HashSet<>();
        try (var consumer = explicit(t)) {
            held.addAll(ClientCases.values(some(consumer)));
        }
        try (var consumer = explicit(t)) {
            Set<String> again = new HashSet<>();
            while (again.size() < 10) {
                for (var r : some(consumer)) {
                    if (held.contains(ClientCases.text(r.value()))) Harness.expect("delivery count", (int) r.deliveryCount().get(), 2);
                    again.add(ClientCases.text(r.value()));
                    consumer.acknowledge(r);
                }
                commit(consumer);
            }
        }
    }

    /** More consumers than partitions share the work; each record is done once. */
    @Harness.Case
    static void share_consumers_of_one_partition(Harness.Run t) throws Exception {
        fromTheBeginning(t);
        ClientCases.create(t, t.topic, 1);
        Map<String, Integer> done = new ConcurrentHashMap<>();
        Set<Integer> busy = ConcurrentHashMap.newKeySet();
        List<Throwable> errors = new CopyOnWriteArrayList<>();
        AtomicBoolean stop = new AtomicBoolean();
        List<Thread> threads = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            int id = number;
            threads.add(new Thread(() -> {
                try (var consumer = explicit(t, "max.poll.records", 10)) {
                    while (!stop.get()) {
                        for (var r : consumer.poll(ClientCases.TICK)) {
                            done.merge(ClientCases.text(r.value()), 1, Integer::sum);
                            busy.add(id);
                            consumer.acknowledge(r);
                            Thread.sleep(2);
                        }
                    }
                    commit(consumer);
                } catch (Throwable thrown) {
                    errors.add(thrown);
                }
            }));
        }
        threads.forEach(Thread::start);
        int sent = 0;
        try (var producer = ClientCases.producer(t)) {
            for (int round = 0; round < 200 && (busy.size() < 3 || sent < 600); round++) {
                for (int i = 0; i < 20; i++) producer.send(new ProducerRecord<>(t.topic, 0, null, ClientCases.bytes("" + sent++)));
                producer.flush();
                Thread.sleep(50);
            }
        }
        int all = sent;
        Harness.waitUntil("all records", () -> done.size() == all || !errors.isEmpty());
        stop.set(true);
        for (Thread thread : threads) thread.join();
        Harness.expect("errors", errors, List.of());
        Harness.expect("consumers that had work", busy, Set.of(0, 1, 2));
        Harness.expect("each once", done.values().stream().distinct().collect(Collectors.toList()), List.of(1));
    }

    @Harness.Case
    static void share_of_transactions(Harness.Run t) throws Exception {
        fromTheBeginning(t, "share.isolation.level", "read_committed");
        ClientCases.create(t, t.topic, 1);
        try (var producer = ClientCases.transactional(t)) {
            for (int number = 0; number < 3; number++) {
                producer.beginTransaction();
                producer.send(new ProducerRecord<>(t.topic, 0, null, ClientCases.bytes("" + number))).get();
                if (number == 1) producer.abortTransaction();
                else producer.commitTransaction();
            }
        }
        List<String> seen = new ArrayList<>();
        try (var consumer = consumer(t)) {
            while (seen.size() < 2) seen.addAll(ClientCases.values(some(consumer)));
            nothingMore(consumer);
        }
        Harness.expect("values", seen, List.of("0", "2"));
    }

    @Harness.Case
    static void share_admin(Harness.Run t) throws Exception {
        fromTheBeginning(t);
        ClientCases.create(t, t.topic, 1);
        ClientCases.produce(t, t.topic, 1, ClientCases.numbers(0, 20));
        var at = new TopicPartition(t.topic, 0);
        try (Admin admin = ClientCases.admin(t)) {
            try (var consumer = consumer(t)) {
                int count = 0;
                while (count < 20) count += some(consumer).size();
                commit(consumer);
                var group = admin.describeShareGroups(List.of(t.group)).all().get().get(t.group);
                Harness.expect("state", group.groupState(), GroupState.STABLE);
                Harness.expect("assignment", group.members().iterator().next().assignment().topicPartitions(), Set.of(at));
                Harness.check("listed", admin.listGroups(ListGroupsOptions.forShareGroups()).all().get().stream().anyMatch(g -> g.groupId().equals(t.group)));
                Harness.expectFailure("delete while it has members", () -> admin.deleteShareGroups(List.of(t.group)).all().get(), GroupNotEmptyException.class);
            }
            Harness.waitUntil("a start offset", () -> shareOffset(admin, t, at) >= 0);  // Kafka writes the one after an acknowledgement with the next
            Harness.waitUntil("the empty group", () -> admin.describeShareGroups(List.of(t.group)).all().get().get(t.group).groupState() == GroupState.EMPTY);
            admin.alterShareGroupOffsets(t.group, Map.of(at, 15L)).all().get();
            Harness.waitUntil("the start offset as set", () -> shareOffset(admin, t, at) == 15);
            try (var consumer = consumer(t)) {
                Harness.expect("from there", ClientCases.values(some(consumer)), ClientCases.numbers(15, 20));
            }
            Harness.waitUntil("the empty group", () -> admin.describeShareGroups(List.of(t.group)).all().get().get(t.group).groupState() == GroupState.EMPTY);
            admin.deleteShareGroups(List.of(t.group)).all().get();
            Harness.check("no longer listed", admin.listGroups().all().get().stream().noneMatch(g -> g.groupId().equals(t.group)));
        }
    }

    static long shareOffset(Admin admin, Harness.Run t, TopicPartition at) throws Exception {
        var found = admin.listShareGroupOffsets(Map.of(t.group, new ListShareGroupOffsetsSpec().topicPartitions(List.of(at)))).all().get().get(t.group).get(at);
        return found == null ? -1 : found.startOffset();
    }
}
