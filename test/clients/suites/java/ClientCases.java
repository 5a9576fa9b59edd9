import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.InvalidRegularExpression;
import org.apache.kafka.common.errors.InvalidTxnTimeoutException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.UnsupportedAssignorException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The Java client: produce, consume, groups of both protocols, transactions. */
final class ClientCases {
    private ClientCases() {}

    static final Duration TICK = Duration.ofMillis(100);

    static Map<String, Object> with(Map<String, Object> base, Object... more) {
        Map<String, Object> all = new HashMap<>(base);
        for (int i = 0; i < more.length; i += 2) all.put((String) more[i], more[i + 1]);
        return all;
    }

    static Admin admin(Harness.Run t) {
        return Admin.create(Map.of("bootstrap.servers", t.bootstrap));
    }

    static void create(Harness.Run t, String topic, int partitions, String... config) throws Exception {
        Map<String, String> configs = new HashMap<>();
        for (int i = 0; i < config.length; i += 2) configs.put(config[i], config[i + 1]);
        try (Admin admin = admin(t)) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
        }
    }

    static KafkaProducer<byte[], byte[]> producer(Harness.Run t, Object... more) {
        return new KafkaProducer<>(with(Map.of("bootstrap.servers", t.bootstrap, "linger.ms", 5), more), new ByteArraySerializer(),
                                   new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Harness.Run t, Object... more) {
        Map<String, Object> base = Map.of("bootstrap.servers", t.bootstrap, "group.id", t.group, "auto.offset.reset", "earliest",
                                          "enable.auto.commit", false);
        return new KafkaConsumer<>(with(base, more), new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static KafkaConsumer<byte[], byte[]> classic(Harness.Run t, Object... more) {
        return consumer(t, with(Map.of("session.timeout.ms", 6000, "heartbeat.interval.ms", 300), more).entrySet().stream()
                               .flatMap(e -> Stream.of(e.getKey(), e.getValue())).toArray());
    }

    static KafkaConsumer<byte[], byte[]> kip848(Harness.Run t, Object... more) {
        return consumer(t, with(Map.of("group.protocol", "consumer"), more).entrySet().stream()
                               .flatMap(e -> Stream.of(e.getKey(), e.getValue())).toArray());
    }

    static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    /** Sends values round robin over the partitions; gives what was acked. */
    static List<RecordMetadata> produce(Harness.Run t, String topic, int partitions, List<String> values, Object... config) throws Exception {
        try (var producer = producer(t, config)) {
            return sendAll(producer, topic, partitions, values);
        }
    }

    static List<RecordMetadata> sendAll(KafkaProducer<byte[], byte[]> producer, String topic, int partitions, List<String> values)
            throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = 0; i < values.size(); i++)
            sent.add(producer.send(new ProducerRecord<>(topic, i % partitions, bytes("" + i), bytes(values.get(i)))));
        producer.flush();
        List<RecordMetadata> acked = new ArrayList<>();
        for (var future : sent) acked.add(future.get());
        return acked;
    }

    static List<String> numbers(int from, int to) {
        return IntStream.range(from, to).mapToObj(i -> "" + i).collect(Collectors.toList());
    }

    static List<TopicPartition> partitions(String topic, int count) {
        return IntStream.range(0, count).mapToObj(p -> new TopicPartition(topic, p)).collect(Collectors.toList());
    }

    /** Reads by assign() from the beginning to the ends that the broker tells at first (by the consumer's isolation). */
    static List<ConsumerRecord<byte[], byte[]>> readAll(Harness.Run t, String topic, int partitions, Object... config) {
        List<ConsumerRecord<byte[], byte[]>> all = new ArrayList<>();
        try (var consumer = consumer(t, config)) {
            var assigned = partitions(topic, partitions);
            consumer.assign(assigned);
            consumer.seekToBeginning(assigned);
            var ends = consumer.endOffsets(assigned);
            long deadline = System.nanoTime() + 40_000_000_000L;
            while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
                consumer.poll(TICK).forEach(all::add);
                if (System.nanoTime() > deadline) throw new AssertionError("the ends " + ends + " were not reached; read " + all.size());
            }
        }
        return all;
    }

    static List<String> values(Collection<ConsumerRecord<byte[], byte[]>> records) {
        return records.stream().map(r -> text(r.value())).collect(Collectors.toList());
    }

    static <T extends Comparable<T>> List<T> sorted(Collection<T> some) {
        return some.stream().sorted().collect(Collectors.toList());
    }

    /** Polls until `count` records came. */
    static List<ConsumerRecord<byte[], byte[]>> take(KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> all = new ArrayList<>();
        long deadline = System.nanoTime() + 40_000_000_000L;
        while (all.size() < count) {
            consumer.poll(TICK).forEach(all::add);
            if (System.nanoTime() > deadline) throw new AssertionError(all.size() + " of " + count + " records came");
        }
        return all;
    }

    // ---- produce and consume

    @Harness.Case
    static void order_and_counts(Harness.Run t) throws Exception {
        create(t, t.topic, 4);
        produce(t, t.topic, 4, numbers(0, 8000));
        var records = readAll(t, t.topic, 4);
        Harness.expect("records", records.size(), 8000);
        for (int p = 0; p < 4; p++) {
            int partition = p;
            var mine = records.stream().filter(r -> r.partition() == partition).collect(Collectors.toList());
            for (int i = 0; i < 2000; i++) {
                Harness.expect("offset", mine.get(i).offset(), (long) i);
                Harness.expect("value", text(mine.get(i).value()), "" + (i * 4 + partition));
            }
        }
    }

    @Harness.Case
    static void codecs(Harness.Run t) throws Exception {
        create(t, t.topic, 1);
        List<String> wanted = new ArrayList<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            var some = IntStream.range(0, 500).mapToObj(i -> (codec + " " + i + " ").repeat(20)).collect(Collectors.toList());
            produce(t, t.topic, 1, some, "compression.type", codec);
            wanted.addAll(some);
        }
        Harness.expect("values", values(readAll(t, t.topic, 1)), wanted);
    }

    @Harness.Case
    static void headers(Harness.Run t) throws Exception {
        create(t, t.topic, 1);
        try (var producer = producer(t)) {
            var record = new ProducerRecord<>(t.topic, 0, bytes("k"), bytes("v"));
            record.headers().add("a", bytes("1")).add("a", bytes("2")).add("empty", new byte[0]).add("null", null);
            producer.send(record).get();
        }
        var read = readAll(t, t.topic, 1).get(0);
        List<String> found = new ArrayList<>();
        for (Header h : read.headers()) found.add(h.key() + "=" + text(h.value()));
        Harness.expect("headers", found, List.of("a=1", "a=2", "empty=", "null=null"));
    }

    @Harness.Case
    static void timestamps(Harness.Run t) throws Exception {
        create(t, t.topic, 1);
        long base = System.currentTimeMillis() / 1000 * 1000 - 3_600_000;  // retention spares it
        try (var producer = producer(t)) {
            for (int i = 0; i < 10; i++) producer.send(new ProducerRecord<>(t.topic, 0, base + i * 1000L, null, bytes("" + i)));
        }
        for (var r : readAll(t, t.topic, 1)) {
            Harness.expect("timestamp", r.timestamp(), base + r.offset() * 1000);
            Harness.expect("type", r.timestampType(), TimestampType.CREATE_TIME);
        }
        var at = new TopicPartition(t.topic, 0);
        try (var consumer = consumer(t)) {
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(at, base + 4500)).get(at);
            Harness.expect("offset for a time between", found.offset(), 5L);
            Harness.expect("its timestamp", found.timestamp(), base + 5000);
            Harness.expect("offset for a time after all", consumer.offsetsForTimes(Map.of(at, base + 100_000)).get(at), null);
        }
        String late = t.topic + "-append";
        create(t, late, 1, "message.timestamp.type", "LogAppendTime");
        try (var producer = producer(t)) {
            long acked = producer.send(new ProducerRecord<>(late, 0, base, null, bytes("x"))).get().timestamp();
            var r = readAll(t, late, 1).get(0);
            Harness.expect("type", r.timestampType(), TimestampType.LOG_APPEND_TIME);
            Harness.expect("timestamp as acked", r.timestamp(), acked);
            Harness.check("of today", acked > base);
        }
    }

    @Harness.Case
    static void null_and_empty(Harness.Run t) throws Exception {
        create(t, t.topic, 1);
        String[][] pairs = {{null, null}, {"", null}, {null, ""}, {"", ""}, {"k", null}, {null, "v"}};
        try (var producer = producer(t)) {
            for (String[] p : pairs) producer.send(new ProducerRecord<>(t.topic, 0, bytes(p[0]), bytes(p[1])));
        }
        var found = readAll(t, t.topic, 1);
        for (int i = 0; i < pairs.length; i++)
            Harness.expect("pair", Arrays.asList(text(found.get(i).key()), text(found.get(i).value())), Arrays.asList(pairs[i]));
    }

    @Harness.Case
    static void large_records(Harness.Run t) throws Exception {
        create(t, t.topic, 1);
        var some = IntStream.range(0, 5).mapToObj(i -> ("" + i).repeat(900_000)).collect(Collectors.toList());
        produce(t, t.topic, 1, some);
        Harness.check("values", values(readAll(t, t.topic, 1)).equals(some));
        String small = t.topic + "-small";
        create(t, small, 1, "max.message.bytes", "10000");
        Harness.expectFailure("too large for the topic", () -> produce(t, small, 1, List.of("x".repeat(50_000))), RecordTooLargeException.class);
        Harness.expect("the next one", produce(t, small, 1, List.of("x")).get(0).offset(), 0L);
    }

    @Harness.Case
    static void idempotent_producer(Harness.Run t) throws Exception {
        create(t, t.topic, 3);
        var acked = produce(t, t.topic, 3, numbers(0, 9000), "enable.idempotence", true, "max.in.flight.requests.per.connection", 5);
        for (int i = 0; i < 9000; i++) Harness.expect("offset", acked.get(i).offset(), (long) (i / 3));
    }

    @Harness.Case
    static void every_kind_of_ack(Harness.Run t) throws Exception {
        create(t, t.topic, 1);
        for (String acks : List.of("0", "1", "all")) produce(t, t.topic, 1, numbers(0, 100), "acks", acks, "enable.idempotence", false);
        Harness.waitUntil("the records' arrival", () -> readAll(t, t.topic, 1).size() == 300);
    }

    // ---- groups

    /** Polls in a thread of its own until leave(); commits what it saw when it is revoked, now and then, and when it leaves. */
    static final class Member extends Thread implements ConsumerRebalanceListener {
        final KafkaConsumer<byte[], byte[]> consumer;
        final Collection<ConsumerRecord<byte[], byte[]>> records = new ConcurrentLinkedQueue<>();
        final Set<TopicPartition> assigned = ConcurrentHashMap.newKeySet();
        final AtomicInteger assignments = new AtomicInteger();
        private volatile boolean leaving;
        private volatile Throwable failure;

        Member(KafkaConsumer<byte[], byte[]> consumer, String topic) {
            this.consumer = consumer;
            consumer.subscribe(List.of(topic), this);
            start();
        }

        Member(KafkaConsumer<byte[], byte[]> consumer, SubscriptionPattern pattern) {
            this.consumer = consumer;
            consumer.subscribe(pattern, this);
            start();
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            assigned.addAll(partitions);
            assignments.incrementAndGet();
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            commit();
            assigned.removeAll(partitions);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            assigned.removeAll(partitions);
        }

        private void commit() {
            try {
                consumer.commitSync();
            } catch (RebalanceInProgressException | CommitFailedException later) {
                // then the next one reads those records once more
            }
        }

        @Override
        public void run() {
            try (consumer) {
                long since = System.nanoTime();
                while (!leaving) {
                    consumer.poll(TICK).forEach(records::add);
                    if (System.nanoTime() - since > 500_000_000L) {
                        commit();
                        since = System.nanoTime();
                    }
                }
            } catch (Throwable thrown) {
                failure = thrown;
            }
        }

        void leave() throws Exception {
            leaving = true;
            join(60_000);
            throwFailure();
        }

        void throwFailure() {
            if (failure != null) throw new AssertionError("a member failed", failure);
        }
    }

    /** Whether the members own that many partitions each (in any order), none of them twice. */
    static boolean shares(List<Member> members, Integer... sizes) {
        members.forEach(Member::throwFailure);
        Set<TopicPartition> all = new HashSet<>();
        members.forEach(m -> all.addAll(m.assigned));
        var found = members.stream().map(m -> m.assigned.size()).sorted().collect(Collectors.toList());
        return found.equals(sorted(Arrays.asList(sizes))) && all.size() == found.stream().mapToInt(i -> i).sum();
    }

    interface Make {
        KafkaConsumer<byte[], byte[]> consumer(Harness.Run t);
    }

    static void rebalanceWhileProducing(Harness.Run t, Make make) throws Exception {
        create(t, t.topic, 6);
        AtomicInteger produced = new AtomicInteger();
        List<Throwable> errors = new CopyOnWriteArrayList<>();
        var members = new ArrayList<Member>();
        AtomicBoolean stop = new AtomicBoolean();
        Thread steady = new Thread(() -> {
            try (var producer = producer(t)) {
                while (!stop.get()) {
                    for (int i = 0; i < 20; i++) {
                        int n = produced.getAndIncrement();
                        producer.send(new ProducerRecord<>(t.topic, n % 6, null, bytes("" + n)), (m, e) -> {
                            if (e != null) errors.add(e);
                        });
                    }
                    Thread.sleep(20);
                }
            } catch (InterruptedException impossible) {
                errors.add(impossible);
            }
        });
        steady.start();
        try {
            members.add(new Member(make.consumer(t), t.topic));
            Harness.waitUntil("the first assignment", () -> shares(members, 6));
            members.add(new Member(make.consumer(t), t.topic));
            Harness.waitUntil("the assignment of two", () -> shares(members, 3, 3));
            members.add(new Member(make.consumer(t), t.topic));
            Harness.waitUntil("the assignment of three", () -> shares(members, 2, 2, 2));
            members.get(0).leave();
            Harness.waitUntil("the assignment of the two that stay", () -> shares(members.subList(1, 3), 3, 3));
            members.get(1).leave();
            Harness.waitUntil("the assignment of the one that stays", () -> shares(members.subList(2, 3), 6));
        } finally {
            stop.set(true);
            steady.join();
        }
        Harness.expect("delivery errors", errors, List.of());
        Harness.waitUntil("all of " + produced + " records", () -> {
            Set<String> seen = new HashSet<>();
            members.forEach(m -> seen.addAll(values(m.records)));
            return seen.size() == produced.get();
        });
        for (Member member : members) {
            Map<Integer, Long> last = new HashMap<>();
            for (var r : member.records) {
                Long before = last.put(r.partition(), r.offset());
                Harness.check("order within a partition", before == null || before < r.offset());
            }
        }
        members.get(2).leave();
        try (var consumer = consumer(t)) {
            long committed = consumer.committed(new HashSet<>(partitions(t.topic, 6))).values().stream().mapToLong(OffsetAndMetadata::offset).sum();
            Harness.expect("committed", committed, (long) produced.get());
        }
    }

    static final String EAGER = "org.apache.kafka.clients.consumer.RangeAssignor";
    static final String COOPERATIVE = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";

    @Harness.Case
    static void rebalance_while_producing_eager(Harness.Run t) throws Exception {
        rebalanceWhileProducing(t, run -> classic(run, "partition.assignment.strategy", EAGER));
    }

    @Harness.Case
    static void rebalance_while_producing_cooperative(Harness.Run t) throws Exception {
        rebalanceWhileProducing(t, run -> classic(run, "partition.assignment.strategy", COOPERATIVE));
    }

    /** From eager to cooperative by a rolling restart, as Kafka's upgrade notes tell. */
    @Harness.Case
    static void assignor_changes_by_rolling_restart(Harness.Run t) throws Exception {
        create(t, t.topic, 4);
        var one = new Member(classic(t, "partition.assignment.strategy", EAGER), t.topic);
        var two = new Member(classic(t, "partition.assignment.strategy", EAGER), t.topic);
        Harness.waitUntil("the assignment", () -> shares(List.of(one, two), 2, 2));
        one.leave();
        var three = new Member(classic(t, "partition.assignment.strategy", COOPERATIVE + "," + EAGER), t.topic);
        Harness.waitUntil("the assignment", () -> shares(List.of(two, three), 2, 2));
        two.leave();
        var four = new Member(classic(t, "partition.assignment.strategy", COOPERATIVE + "," + EAGER), t.topic);
        Harness.waitUntil("the assignment", () -> shares(List.of(three, four), 2, 2));
        three.leave();
        four.leave();
    }

    @Harness.Case
    static void static_members(Harness.Run t) throws Exception {
        create(t, t.topic, 4);
        var one = new Member(classic(t, "group.instance.id", "one", "session.timeout.ms", 20000), t.topic);
        var two = new Member(classic(t, "group.instance.id", "two", "session.timeout.ms", 20000), t.topic);
        Harness.waitUntil("the assignment", () -> shares(List.of(one, two), 2, 2));
        Set<TopicPartition> had = new HashSet<>(one.assigned);
        int before = two.assignments.get();
        one.leave();
        var again = new Member(classic(t, "group.instance.id", "one", "session.timeout.ms", 20000), t.topic);
        Harness.waitUntil("the assignment of the one that came back", () -> again.assigned.equals(had));
        Harness.expect("rebalances that the other one noticed", two.assignments.get() - before, 0);
        try (var same = classic(t, "group.instance.id", "two", "session.timeout.ms", 20000)) {
            same.subscribe(List.of(t.topic));
            Harness.waitUntil("the fencing of the one whose id was taken", () -> {
                same.poll(TICK);
                return two.failure instanceof FencedInstanceIdException;
            });
        }
        again.leave();
    }

    @Harness.Case
    static void commit_and_resume(Harness.Run t) throws Exception {
        create(t, t.topic, 2);
        produce(t, t.topic, 2, numbers(0, 200));
        List<String> seen = new ArrayList<>();
        try (var first = classic(t, "max.poll.records", 10)) {
            first.subscribe(List.of(t.topic));
            while (seen.size() < 100) {
                first.poll(TICK).forEach(r -> seen.add(text(r.value())));
                first.commitSync();
            }
        }
        try (var second = classic(t)) {
            second.subscribe(List.of(t.topic));
            seen.addAll(values(take(second, 200 - seen.size())));
            Harness.expect("each once", new HashSet<>(seen).size(), 200);
            var at = new TopicPartition(t.topic, 0);
            second.commitSync(Map.of(at, new OffsetAndMetadata(7, "where I was")));
            Harness.expect("committed", second.committed(Set.of(at)).get(at), new OffsetAndMetadata(7, Optional.empty(), "where I was"));
            Harness.expect("not committed", second.committed(Set.of(new TopicPartition(t.topic + "-none", 0))).get(new TopicPartition(t.topic + "-none", 0)), null);
        }
    }

    @Harness.Case
    static void auto_commit(Harness.Run t) throws Exception {
        create(t, t.topic, 1);
        produce(t, t.topic, 1, numbers(0, 50));
        try (var first = classic(t, "enable.auto.commit", true)) {
            first.subscribe(List.of(t.topic));
            take(first, 50);
        }
        try (var second = classic(t)) {
            var at = new TopicPartition(t.topic, 0);
            Harness.expect("committed by close", second.committed(Set.of(at)).get(at).offset(), 50L);
        }
    }

    @Harness.Case
    static void seek_and_pause(Harness.Run t) throws Exception {
        create(t, t.topic, 2);
        produce(t, t.topic, 2, numbers(0, 100));
        var zero = new TopicPartition(t.topic, 0);
        try (var consumer = classic(t)) {
            consumer.subscribe(List.of(t.topic));
            take(consumer, 100);
            consumer.seek(zero, 48);
            Harness.expect("after the seek", take(consumer, 2).stream().map(ConsumerRecord::offset).collect(Collectors.toList()), List.of(48L, 49L));
            consumer.pause(List.of(zero));
            produce(t, t.topic, 2, List.of("paused", "goes on"));
            Harness.expect("while the other is paused", values(take(consumer, 1)), List.of("goes on"));
            Harness.check("nothing from a paused partition", consumer.poll(Duration.ofMillis(500)).isEmpty());
            consumer.resume(List.of(zero));
            Harness.expect("after resume", values(take(consumer, 1)), List.of("paused"));
        }
    }

    // ---- the consumer protocol (KIP-848)

    @Harness.Case
    static void kip848_rebalance_while_producing(Harness.Run t) throws Exception {
        rebalanceWhileProducing(t, run -> kip848(run));
    }

    @Harness.Case
    static void kip848_assignors(Harness.Run t) throws Exception {
        create(t, t.topic, 5);
        for (String assignor : List.of("range", "uniform")) {
            var members = List.of(new Member(kip848(t, "group.remote.assignor", assignor), t.topic),
                                  new Member(kip848(t, "group.remote.assignor", assignor), t.topic));
            Harness.waitUntil("the assignment by " + assignor, () -> shares(members, 2, 3));
            for (Member member : members) member.leave();
        }
        Harness.expectFailure("an unknown assignor", () -> {
            try (var consumer = kip848(t, "group.remote.assignor", "fair")) {
                consumer.subscribe(List.of(t.topic));
                while (true) consumer.poll(TICK);
            }
        }, UnsupportedAssignorException.class);
    }

    @Harness.Case
    static void kip848_regex(Harness.Run t) throws Exception {
        create(t, t.topic + "-one", 2);
        create(t, t.topic + "-other", 1);
        var member = new Member(kip848(t, "metadata.max.age.ms", 500), new SubscriptionPattern(t.topic + "-o.e"));
        Harness.waitUntil("the topic that matches", () -> member.assigned.equals(new HashSet<>(partitions(t.topic + "-one", 2))));
        create(t, t.topic + "-ole", 1);
        produce(t, t.topic + "-ole", 1, List.of("hello"));
        Harness.waitUntil("a record of a topic that matches and came later", 90, () -> values(member.records).equals(List.of("hello")));
        member.leave();
        Harness.expectFailure("an expression that is none", () -> {
            try (var consumer = kip848(t)) {
                consumer.subscribe(new SubscriptionPattern("(open"));
                while (true) consumer.poll(TICK);
            }
        }, InvalidRegularExpression.class);
    }

    @Harness.Case
    static void kip848_commit_and_resume(Harness.Run t) throws Exception {
        create(t, t.topic, 2);
        produce(t, t.topic, 2, numbers(0, 100));
        try (var first = kip848(t)) {
            first.subscribe(List.of(t.topic));
            take(first, 100);
            first.commitSync();
        }
        produce(t, t.topic, 2, numbers(100, 110));
        try (var second = kip848(t)) {
            second.subscribe(List.of(t.topic));
            Harness.expect("what came since", sorted(values(take(second, 10))), numbers(100, 110));
        }
    }

    /** A group goes from the classic protocol to the new one, member by member, while it runs. */
    @Harness.Case
    static void kip848_upgrade_while_running(Harness.Run t) throws Exception {
        create(t, t.topic, 4);
        var old = new Member(classic(t, "partition.assignment.strategy", COOPERATIVE), t.topic);
        Harness.waitUntil("the classic assignment", () -> shares(List.of(old), 4));
        produce(t, t.topic, 4, numbers(0, 100));
        var next = new Member(kip848(t), t.topic);
        Harness.waitUntil("the assignment of both", () -> shares(List.of(old, next), 2, 2));
        old.leave();
        Harness.waitUntil("the assignment of the new one", () -> shares(List.of(next), 4));
        produce(t, t.topic, 4, numbers(100, 200));
        Harness.waitUntil("all records", () -> {
            Set<String> seen = new HashSet<>(values(old.records));
            seen.addAll(values(next.records));
            return seen.size() == 200;
        });
        next.leave();
    }

    // ---- transactions

    static KafkaProducer<byte[], byte[]> transactional(Harness.Run t, Object... more) {
        var producer = producer(t, with(Map.of("transactional.id", t.transactionalId), more).entrySet().stream()
                                       .flatMap(e -> Stream.of(e.getKey(), e.getValue())).toArray());
        producer.initTransactions();
        return producer;
    }

    static List<String> committed(Harness.Run t, String topic, int partitions) {
        return values(readAll(t, topic, partitions, "isolation.level", "read_committed"));
    }

    /** What is committed, once it is `count` records: the broker ends a transaction by and by after it has said so. */
    static List<String> committed(Harness.Run t, String topic, int partitions, int count) throws Exception {
        Harness.waitUntil(count + " committed records", () -> committed(t, topic, partitions).size() >= count);
        return committed(t, topic, partitions);
    }

    @Harness.Case
    static void transaction_commit_and_abort(Harness.Run t) throws Exception {
        create(t, t.topic, 2);
        try (var producer = transactional(t)) {
            for (int number = 0; number < 4; number++) {
                producer.beginTransaction();
                sendAll(producer, t.topic, 2, numbers(number * 10, number * 10 + 10));
                if (number % 2 == 0) producer.commitTransaction();
                else producer.abortTransaction();
            }
        }
        Harness.expect("read_committed", new TreeSet<>(committed(t, t.topic, 2, 20)),
                       new TreeSet<>(Stream.concat(numbers(0, 10).stream(), numbers(20, 30).stream()).collect(Collectors.toSet())));
        Harness.expect("read_uncommitted", new TreeSet<>(values(readAll(t, t.topic, 2))), new TreeSet<>(numbers(0, 40)));
    }

    @Harness.Case
    static void open_transaction_holds_readers_back(Harness.Run t) throws Exception {
        create(t, t.topic, 1);
        try (var producer = transactional(t)) {
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(t.topic, 0, null, bytes("open"))).get();
            produce(t, t.topic, 1, List.of("after"));
            Harness.expect("read_committed while it is open", committed(t, t.topic, 1), List.of());
            Harness.expect("read_uncommitted", values(readAll(t, t.topic, 1)), List.of("open", "after"));
            producer.commitTransaction();
        }
        Harness.expect("read_committed after", committed(t, t.topic, 1, 2), List.of("open", "after"));
    }

    @Harness.Case
    static void second_producer_fences_the_first(Harness.Run t) throws Exception {
        create(t, t.topic, 1);
        try (var zombie = transactional(t)) {
            zombie.beginTransaction();
            zombie.send(new ProducerRecord<>(t.topic, 0, null, bytes("zombie"))).get();
            try (var heir = transactional(t)) {
                Harness.expectFailure("the zombie", () -> {
                    zombie.send(new ProducerRecord<>(t.topic, 0, null, bytes("zombie again"))).get();
                    zombie.commitTransaction();
                    return null;
                }, ProducerFencedException.class, InvalidProducerEpochException.class);
                heir.beginTransaction();
                heir.send(new ProducerRecord<>(t.topic, 0, null, bytes("heir")));
                heir.commitTransaction();
            }
        }
        Harness.expect("read_committed", committed(t, t.topic, 1, 1), List.of("heir"));
    }

    /** Many small transactions by two producers and a reader that sees each of them whole. */
    @Harness.Case
    static void transactions_are_atomic_across_partitions(Harness.Run t) throws Exception {
        create(t, t.topic, 3);
        List<Throwable> errors = new CopyOnWriteArrayList<>();
        List<Thread> threads = new ArrayList<>();
        for (int id = 0; id < 2; id++) {
            String name = "p" + id;
            threads.add(new Thread(() -> {
                try (var producer = producer(t, "transactional.id", t.transactionalId + name)) {
                    producer.initTransactions();
                    for (int n = 0; n < 60; n++) {
                        producer.beginTransaction();
                        for (int p = 0; p < 3; p++) producer.send(new ProducerRecord<>(t.topic, p, null, bytes(name + "." + n)));
                        if (n % 3 == 2) {
                            producer.flush();
                            producer.abortTransaction();
                        } else {
                            producer.commitTransaction();
                        }
                    }
                } catch (Throwable thrown) {
                    errors.add(thrown);
                }
            }));
        }
        threads.forEach(Thread::start);
        for (Thread thread : threads) thread.join();
        Harness.expect("errors", errors, List.of());
        Map<String, Integer> counts = new TreeMap<>();
        committed(t, t.topic, 3, 240).forEach(v -> counts.merge(v, 1, Integer::sum));
        Map<String, Integer> wanted = new TreeMap<>();
        for (int id = 0; id < 2; id++)
            for (int n = 0; n < 60; n++)
                if (n % 3 != 2) wanted.put("p" + id + "." + n, 3);
        Harness.expect("each committed transaction thrice, no aborted one", counts, wanted);
    }

    static void consumeTransformProduce(Harness.Run t, Make make) throws Exception {
        String out = t.topic + "-out";
        create(t, t.topic, 2);
        create(t, out, 2);
        produce(t, t.topic, 2, numbers(0, 200));
        int done = 0;
        for (int attempt = 0; done < 200; attempt++) {
            try (var consumer = make.consumer(t); var producer = transactional(t)) {
                consumer.subscribe(List.of(t.topic));
                for (int round = 0; done < 200; round++) {
                    var batch = take(consumer, 1);
                    producer.beginTransaction();
                    Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                    for (var r : batch) {
                        producer.send(new ProducerRecord<>(out, r.partition(), null, bytes("done " + text(r.value()))));
                        offsets.put(new TopicPartition(t.topic, r.partition()), new OffsetAndMetadata(r.offset() + 1));
                    }
                    producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                    if (round == 2 && attempt < 3) {  // the third round of the first attempts is lost, with its consumer
                        producer.abortTransaction();
                        break;
                    }
                    producer.commitTransaction();
                    done += batch.size();
                }
            }
        }
        Harness.expect("output", sorted(committed(t, out, 2, 200)), sorted(numbers(0, 200).stream().map(n -> "done " + n).collect(Collectors.toList())));
        try (var consumer = consumer(t, "isolation.level", "read_committed")) {
            Harness.expect("committed offsets", consumer.committed(new HashSet<>(partitions(t.topic, 2))).values().stream()
                                                    .map(OffsetAndMetadata::offset).collect(Collectors.toList()), List.of(100L, 100L));
        }
    }

    @Harness.Case
    static void consume_transform_produce(Harness.Run t) throws Exception {
        consumeTransformProduce(t, run -> classic(run, "isolation.level", "read_committed", "max.poll.records", 20));
    }

    @Harness.Case
    static void kip848_consume_transform_produce(Harness.Run t) throws Exception {
        consumeTransformProduce(t, run -> kip848(run, "isolation.level", "read_committed", "max.poll.records", 20));
    }

    @Harness.Case
    static void stale_group_metadata_is_fenced(Harness.Run t) throws Exception {
        create(t, t.topic, 1);
        produce(t, t.topic, 1, List.of("x"));
        try (var consumer = classic(t); var producer = transactional(t)) {
            consumer.subscribe(List.of(t.topic));
            take(consumer, 1);
            var metadata = consumer.groupMetadata();
            consumer.unsubscribe();
            producer.beginTransaction();
            Harness.expectFailure("stale metadata", () -> {
                producer.sendOffsetsToTransaction(Map.of(new TopicPartition(t.topic, 0), new OffsetAndMetadata(1)), metadata);
                producer.commitTransaction();
                return null;
            }, CommitFailedException.class);
            producer.abortTransaction();
        }
    }

    @Harness.Case
    static void transaction_timeout_aborts(Harness.Run t) throws Exception {
        create(t, t.topic, 1);
        try (var producer = transactional(t, "transaction.timeout.ms", 1500)) {
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(t.topic, 0, null, bytes("late"))).get();
            produce(t, t.topic, 1, List.of("after"));
            Harness.waitUntil("the abort by the broker", 60, () -> committed(t, t.topic, 1).equals(List.of("after")));
            Harness.expectFailure("the late commit", () -> {
                producer.commitTransaction();
                return null;
            }, ProducerFencedException.class, InvalidProducerEpochException.class, KafkaException.class);
        }
        Harness.expect("read_committed", committed(t, t.topic, 1), List.of("after"));
    }

    @Harness.Case
    static void transaction_timeout_above_the_limit_is_refused(Harness.Run t) throws Exception {
        Harness.expectFailure("a timeout of a day", () -> transactional(t, "transaction.timeout.ms", 86_400_000),
                              InvalidTxnTimeoutException.class, KafkaException.class);
    }
}
