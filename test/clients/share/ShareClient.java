import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicIdPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A consumer of a share group, told by its command line what to do; prints what happens, a line each, so that a test can follow.
 *
 * consume BOOTSTRAP GROUP TOPIC COUNT SECONDS ACTION [key=value ...]
 *   Polls until COUNT records came or SECONDS have passed. For each record prints "record PARTITION OFFSET DELIVERIES VALUE" and
 *   acknowledges it by ACTION: accept, release, reject, renew (extends each batch once; a poll gives it again, and
 *   then it is accepted), hold (acknowledges nothing and waits
 *   for its end), none (acknowledges nothing and closes). "done N" when it has ended cleanly.
 * group BOOTSTRAP GROUP key=value ...     sets options of the group
 * describe BOOTSTRAP GROUP                state, members and start offsets
 * alter BOOTSTRAP GROUP TOPIC PARTITION OFFSET
 * delete BOOTSTRAP GROUP                  deletes the group
 */
public class ShareClient {
    static void say(Object... parts) {
        StringBuilder line = new StringBuilder();
        for (Object part : parts) line.append(line.length() > 0 ? " " : "").append(part);
        synchronized (System.out) {
            System.out.println(line);
            System.out.flush();
        }
    }

    static void put(Properties to, String[] args, int from) {
        for (int i = from; i < args.length; i++) {
            String[] parts = args[i].split("=", 2);
            to.put(parts[0], parts[1]);
        }
    }

    static int outcome(Map<TopicIdPartition, Optional<KafkaException>> results) {
        int failed = 0;
        for (var entry : results.entrySet()) {
            if (entry.getValue().isEmpty()) continue;
            failed++;
            say("failed", entry.getKey().partition(), entry.getValue().get().getClass().getSimpleName());
        }
        return failed;
    }

    static void consume(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[1]);
        properties.put("group.id", args[2]);
        properties.put("share.acknowledgement.mode", "explicit");
        put(properties, args, 7);
        int wanted = Integer.parseInt(args[4]);
        long deadline = System.nanoTime() + Duration.ofSeconds(Long.parseLong(args[5])).toNanos();
        String action = args[6];
        int count = 0;
        Set<Long> renewed = new HashSet<>();
        try (var consumer = new KafkaShareConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(Arrays.asList(args[3].split(",")));
            say("ready");
            while (count < wanted && System.nanoTime() < deadline) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                for (ConsumerRecord<String, String> record : records) {
                    say("record", record.partition(), record.offset(), record.deliveryCount().orElse((short) -1), record.value());
                    count++;
                }
                if (records.isEmpty()) continue;
                if (action.equals("hold")) {
                    say("holding");
                    Thread.sleep(600_000);
                }
                if (action.equals("none")) continue;
                boolean renews = action.equals("renew") && renewed.add(records.iterator().next().offset());
                AcknowledgeType type = renews ? AcknowledgeType.RENEW
                    : action.equals("renew") ? AcknowledgeType.ACCEPT : AcknowledgeType.valueOf(action.toUpperCase());
                for (var record : records) consumer.acknowledge(record, type);
                if (renews) {
                    outcome(consumer.commitSync());
                    say("renewed", consumer.acquisitionLockTimeoutMs().orElse(-1));
                    continue;
                }
                if (outcome(consumer.commitSync()) == 0)
                    for (var record : records) say("acknowledged", record.partition(), record.offset());
            }
        }
        say("done", count);
    }

    static void describe(Admin admin, String group) throws Exception {
        var described = admin.describeShareGroups(List.of(group)).describedGroups().get(group).get();
        say("state", described.groupState());
        for (var member : described.members())
            say("member", member.consumerId(), new ArrayList<>(member.assignment().topicPartitions()));
        admin.listShareGroupOffsets(Map.of(group, new org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec()))
            .partitionsToOffsetInfo(group).get()
            .forEach((partition, info) -> say("offset", partition, info == null ? "none" : info.startOffset() + " lag " + info.lag().orElse(-1L)));
        for (var listed : admin.listGroups().all().get())
            if (listed.groupId().equals(group)) say("listed", listed.type().orElse(null), listed.protocol(), listed.groupState().orElse(null));
    }

    public static void main(String[] args) throws Exception {
        if (args[0].equals("consume")) {
            consume(args);
            return;
        }
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[1]);
        try (Admin admin = Admin.create(properties)) {
            if (args[0].equals("group")) {
                Properties options = new Properties();
                put(options, args, 3);
                List<AlterConfigOp> changes = new ArrayList<>();
                options.forEach((name, value) -> changes.add(
                    new AlterConfigOp(new ConfigEntry((String) name, (String) value), AlterConfigOp.OpType.SET)));
                admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.GROUP, args[2]), changes)).all().get();
            } else if (args[0].equals("describe")) {
                describe(admin, args[2]);
            } else if (args[0].equals("alter")) {
                var partition = new org.apache.kafka.common.TopicPartition(args[3], Integer.parseInt(args[4]));
                admin.alterShareGroupOffsets(args[2], Map.of(partition, Long.parseLong(args[5]))).all().get();
            } else if (args[0].equals("delete")) {
                admin.deleteShareGroups(List.of(args[2])).all().get();
            }
            say("done");
        }
    }
}
