import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * One worker of a work queue; start as many as there is work for, even more than the topic has partitions.
 *
 *   java -cp 'KAFKA_LIBS/*' WorkQueue.java BOOTSTRAP GROUP TOPIC [COUNT]
 *
 * Ends after COUNT jobs (default: never). A job that says "later" is given back, one that says "bad" is rejected and becomes a dead
 * letter; everything else is done.
 */
public class WorkQueue {
    static AcknowledgeType work(String job) {
        if (job.startsWith("later")) return AcknowledgeType.RELEASE;
        if (job.startsWith("bad")) return AcknowledgeType.REJECT;
        return AcknowledgeType.ACCEPT;
    }

    public static void main(String[] args) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("group.id", args[1]);
        properties.put("share.acknowledgement.mode", "explicit");
        long left = args.length > 3 ? Long.parseLong(args[3]) : Long.MAX_VALUE;
        try (var jobs = new KafkaShareConsumer<>(properties, new StringDeserializer(), new StringDeserializer())) {
            jobs.subscribe(java.util.List.of(args[2]));
            while (left > 0) {
                for (var job : jobs.poll(Duration.ofSeconds(1))) {
                    AcknowledgeType outcome = work(job.value());
                    System.out.println(job.value() + ": " + outcome + ", delivery " + job.deliveryCount().orElse((short) 0));
                    jobs.acknowledge(job, outcome);
                    left--;
                }
                jobs.commitSync();
            }
        }
    }
}
