import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/** Kafka Streams: the word count, exactly once. */
final class StreamsCases {
    private StreamsCases() {}

    static Topology wordCount(String in, String out) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(in, Consumed.with(Serdes.String(), Serdes.String()))
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
            .count(Materialized.as("counts"))
            .toStream()
            .to(out, Produced.with(Serdes.String(), Serdes.Long()));
        return builder.build();
    }

    static KafkaStreams start(Harness.Run t, Path state, String in, String out) throws Exception {
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, t.topic + "-app");
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, t.bootstrap);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        config.put(StreamsConfig.STATE_DIR_CONFIG, state.toString());
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        config.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        config.put("consumer.auto.offset.reset", "earliest");
        config.put("consumer.heartbeat.interval.ms", 300);
        config.put("consumer.session.timeout.ms", 6000);
        KafkaStreams streams = new KafkaStreams(wordCount(in, out), config);
        streams.setUncaughtExceptionHandler(failure -> {
            failure.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        Harness.waitUntil("the running application", 60, () -> streams.state() == KafkaStreams.State.RUNNING);
        return streams;
    }

    /** The last count of each word; that counts never jump is what exactly once means here. */
    static Map<String, Long> counts(Harness.Run t, String out) {
        Map<String, Long> last = new TreeMap<>();
        for (ConsumerRecord<byte[], byte[]> r : ClientCases.readAll(t, out, 2, "isolation.level", "read_committed")) {
            long count = new LongDeserializer().deserialize(out, r.value());
            Long before = last.put(ClientCases.text(r.key()), count);
            Harness.check("a word's count went from " + before + " to " + count, before == null ? count > 0 : count > before);
        }
        return last;
    }

    @Harness.Case
    static void streams_exactly_once_word_count(Harness.Run t) throws Exception {
        String in = t.topic + "-lines";
        String out = t.topic + "-counts";
        ClientCases.create(t, in, 2);
        ClientCases.create(t, out, 2);
        List<String> words = List.of("mill", "race", "river", "wheel", "stone", "grain");
        Map<String, Long> wanted = new TreeMap<>();
        Random random = new Random(7);
        Path state = Files.createTempDirectory("streams");
        for (int run = 0; run < 3; run++) {
            if (run == 2) state = Files.createTempDirectory("streams");  // the state comes back from its changelog
            KafkaStreams streams = start(t, state, in, out);
            List<String> lines = new ArrayList<>();
            for (int i = 0; i < 1000; i++) {
                String word = words.get(random.nextInt(words.size()));
                String other = words.get(random.nextInt(words.size()));
                lines.add(word + " " + other);
                wanted.merge(word, 1L, Long::sum);
                wanted.merge(other, 1L, Long::sum);
            }
            ClientCases.produce(t, in, 2, lines);
            if (run != 0) Harness.waitUntil("the counts " + wanted, 60, () -> counts(t, out).equals(wanted));  // the first run is stopped in the middle
            Harness.check("closed", streams.close(Duration.ofSeconds(30)));
        }
        Harness.waitUntil("the counts " + wanted, () -> counts(t, out).equals(wanted));
    }
}
