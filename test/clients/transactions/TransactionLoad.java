import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Transactions without end, each writing its value once to every partition, while somebody kills the broker. Tells what became of each:
 * "committed v", "aborted v" or "unknown v". Arguments: bootstrap, topic, partitions, transactional id. Ends when standard input does.
 */
public class TransactionLoad {
    static KafkaProducer<String, String> open(String bootstrap, String id) {
        Map<String, Object> options = new HashMap<>();
        options.put("bootstrap.servers", bootstrap);
        options.put("transactional.id", id);
        options.put("key.serializer", StringSerializer.class);
        options.put("value.serializer", StringSerializer.class);
        options.put("max.block.ms", 60_000);
        options.put("reconnect.backoff.max.ms", 200);
        while (true) {
            var producer = new KafkaProducer<String, String>(options);
            try {
                producer.initTransactions();
                return producer;
            } catch (KafkaException e) {
                System.err.println("init: " + e);
                producer.close(Duration.ZERO);
            }
        }
    }

    static String run(KafkaProducer<String, String> producer, String topic, int partitions, String value, boolean commit) {
        producer.beginTransaction();
        try {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int p = 0; p < partitions; p++) sent.add(producer.send(new ProducerRecord<>(topic, p, null, value)));
            // What the client has not sent when it aborts may stay with it and go out in the next transaction's batch: seen once in
            // 32,000, both records in one batch of the next epoch. So an abort has sent something.
            if (!commit) producer.flush();
            if (commit) producer.commitTransaction();
            else producer.abortTransaction();
            return commit ? "committed " : "aborted ";
        } catch (TimeoutException e) {
            throw e;
        } catch (KafkaException e) {
            System.err.println(value + ": " + e + " / " + e.getCause());
            producer.abortTransaction();
            return "aborted ";
        }
    }

    public static void main(String[] arguments) throws Exception {
        String topic = arguments[1], id = arguments[3];
        int partitions = Integer.parseInt(arguments[2]);
        var random = new Random(id.hashCode());
        var producer = open(arguments[0], id);
        for (int number = 0; System.in.available() == 0; number++) {
            String value = id + "-" + number;
            try {
                System.out.println(run(producer, topic, partitions, value, random.nextInt(4) != 0) + value);
            } catch (KafkaException e) {
                System.err.println(value + ": " + e + ", with another producer");
                System.out.println("unknown " + value);
                producer.close(Duration.ZERO);
                producer = open(arguments[0], id);
            }
        }
        producer.close();
    }
}
