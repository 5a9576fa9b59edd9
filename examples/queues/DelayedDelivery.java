import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Puts a job into a work queue (see WorkQueue.java) that no worker gets before its time.
 *
 *   java -cp 'KAFKA_LIBS/*' DelayedDelivery.java BOOTSTRAP TOPIC SECONDS JOB
 */
public class DelayedDelivery {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        try (Admin admin = Admin.create(properties)) {
            NewTopic topic = new NewTopic(args[1], 1, (short) 1).configs(Map.of("delayed.delivery", "true"));
            admin.createTopics(List.of(topic)).all().get();
        } catch (java.util.concurrent.ExecutionException e) {
            if (!(e.getCause() instanceof TopicExistsException)) throw e;
        }
        Instant due = Instant.now().plus(Duration.ofSeconds(Long.parseLong(args[2])));
        try (var producer = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
            var job = new ProducerRecord<String, String>(args[1], args[3]);
            job.headers().add("deliver_at", due.toString().getBytes(StandardCharsets.UTF_8));
            producer.send(job).get();
        }
        System.out.println(args[3] + " is due at " + due);
    }
}
