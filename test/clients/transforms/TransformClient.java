import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The Java client on topics with transforms. Arguments: BOOTSTRAP, then jobs, all done in one JVM, the consumers at the same time:
 *   produce TOPIC COUNT             COUNT records with each codec, one codec after the other
 *   end TOPIC ISOLATION BYTES       reads with fetches of so many bytes until its position is the end
 *   classic|consumer|share TOPIC GROUP COUNT [MECHANISM USER PASSWORD]   reads with a group of that kind until COUNT records came, or
 *                                   one was refused; logged in, if it is said as whom
 * Prints "record GROUP OFFSET TIMESTAMP KEY HEADER VALUE" of each record, "refused GROUP ERROR", and "JOB: VALUES position N lag N" of an end.
 */
public final class TransformClient {
    private static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    private static String bootstrap;

    private static synchronized void say(Object... parts) {
        System.out.println(String.join(" ", Arrays.stream(parts).map(String::valueOf).toList()));
    }

    private static Properties with(String... more) {
        Properties all = new Properties();
        all.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < more.length; i += 2) all.put(more[i], more[i + 1]);
        return all;
    }

    private static void produce(String topic, int count) throws Exception {
        int number = 0;
        for (String codec : CODECS) {
            try (var producer = new KafkaProducer<>(with("compression.type", codec, "linger.ms", "20"), new StringSerializer(), new StringSerializer())) {
                var sent = new ArrayList<java.util.concurrent.Future<?>>();
                for (int i = 0; i < count; i++, number++) {
                    var headers = List.<org.apache.kafka.common.header.Header>of(new RecordHeader("h", codec.getBytes()));
                    String value = (number % 3 == 0 ? "d" : "a") + number;
                    sent.add(producer.send(new ProducerRecord<>(topic, 0, 1_700_000_000_000L + number, "k" + number, value, headers)));
                }
                for (var each : sent) each.get(30, TimeUnit.SECONDS);
            }
        }
    }

    private static void tell(String group, ConsumerRecord<String, String> record) {
        say("record", group, record.offset(), record.timestamp(), record.key(), new String(record.headers().lastHeader("h").value()), record.value());
    }

    /** With the login that stands behind a job's first four words. */
    private static Properties as(String[] job, String... more) {
        var properties = with(more);
        if (job.length == 4) return properties;
        properties.put("security.protocol", "SASL_PLAINTEXT");
        properties.put("sasl.mechanism", job[4]);
        String module = job[4].equals("PLAIN") ? "plain.Plain" : "scram.Scram";
        properties.put("sasl.jaas.config", String.format(
            "org.apache.kafka.common.security.%sLoginModule required username=\"%s\" password=\"%s\";", module, job[5], job[6]));
        return properties;
    }

    private static void read(String protocol, String topic, String group, int count, String[] job) {
        var properties = as(job, "group.id", group, "group.protocol", protocol, "auto.offset.reset", "earliest");
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        try (var consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            for (int got = 0; got < count && System.nanoTime() < end;) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    tell(group, record);
                    got++;
                }
            }
        }
    }

    private static void end(String[] job) {
        var partition = new TopicPartition(job[1], 0);
        var values = new ArrayList<String>();
        long limit = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        var properties = with("isolation.level", job[2], "max.partition.fetch.bytes", job[3], "auto.offset.reset", "earliest");
        try (var consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            consumer.assign(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            while (consumer.position(partition) < end && System.nanoTime() < limit) {
                for (var record : consumer.poll(Duration.ofMillis(500))) values.add(record.value());
            }
            say(String.join(" ", job) + ":", String.join(",", values), "position", consumer.position(partition), "lag",
                consumer.currentLag(partition).orElse(-1));
        }
    }

    private static void share(String topic, String group, int count, String[] job) throws Exception {
        try (Admin admin = Admin.create(with())) {
            var earliest = new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.GROUP, group), List.of(earliest))).all().get();
        }
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        try (var consumer = new KafkaShareConsumer<>(as(job, "group.id", group), new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            for (int got = 0; got < count && System.nanoTime() < end;) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    tell(group, record);
                    got++;
                }
            }
        }
    }

    private static void run(String[] job) {
        try {
            if (job[0].equals("end")) end(job);
            else if (job[0].equals("share")) share(job[1], job[2], Integer.parseInt(job[3]), job);
            else read(job[0], job[1], job[2], Integer.parseInt(job[3]), job);
        } catch (Exception refused) {
            say("refused", job[2], refused.getClass().getSimpleName());
        }
    }

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        var threads = new ArrayList<Thread>();
        for (int i = 1; i < arguments.length; i++) {
            String[] job = arguments[i].split(" ");
            if (job[0].equals("produce")) produce(job[1], Integer.parseInt(job[2]));
            else threads.add(new Thread(() -> run(job)));
        }
        for (var thread : threads) thread.start();
        for (var thread : threads) thread.join();
    }
}
