// Sends events to Kafka, or has Kafka Streams hold an hourly view of them, and prints one JSON object.
// usage: Kafka BROKER EVENTS single CONNECTIONS SECONDS        one event a request, each waited for
//        Kafka BROKER EVENTS bulk CONNECTIONS COUNT            batches of up to 256 KiB
//        Kafka BROKER EVENTS view CONNECTIONS COUNT STATE_DIR  bulk, and until the view (hour, status) holds everything
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.TimestampExtractor;

public class Kafka {
    static String broker;
    static List<byte[]> events = new ArrayList<>();

    static Properties properties(String... pairs) {
        Properties made = new Properties();
        made.put("bootstrap.servers", broker);
        for (int i = 0; i < pairs.length; i += 2) made.put(pairs[i], pairs[i + 1]);
        return made;
    }

    static KafkaProducer<byte[], byte[]> producer(String linger, String memory) {
        return new KafkaProducer<>(properties("acks", "all", "linger.ms", linger, "batch.size", "262144", "buffer.memory", memory),
            new ByteArraySerializer(), new ByteArraySerializer());
    }

    static void topics(String... names) throws Exception {
        try (Admin admin = Admin.create(properties())) {
            for (int i = 0;; i++) {
                try {
                    if (!admin.describeCluster().nodes().get(5, TimeUnit.SECONDS).isEmpty()) break;
                } catch (Exception wait) {
                    if (i > 10) throw wait;
                }
            }
            List<NewTopic> wanted = new ArrayList<>();
            for (String name : names) wanted.add(new NewTopic(name, 4, (short) 1));
            admin.createTopics(wanted).all().get(30, TimeUnit.SECONDS);
        }
        Thread.sleep(1000);  // until every client may learn of them
    }

    interface Sender { void run(int number) throws Exception; }

    static void together(int count, Sender sender) throws Exception {
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int number = i;
            Thread thread = new Thread(() -> {
                try {
                    sender.run(number);
                } catch (Exception failed) {
                    System.err.println(failed);
                    System.exit(1);
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) thread.join();
    }

    static String single(String topic, int connections, double seconds) throws Exception {
        List<KafkaProducer<byte[], byte[]>> producers = new ArrayList<>();
        for (int i = 0; i < connections; i++) {
            producers.add(producer("0", "2097152"));
            producers.get(i).partitionsFor(topic);
        }
        List<Double> took = Collections.synchronizedList(new ArrayList<>());
        long begin = System.nanoTime();
        together(connections, number -> {
            for (int n = number; System.nanoTime() - begin < seconds * 1e9; n += connections) {
                long at = System.nanoTime();
                producers.get(number).send(new ProducerRecord<>(topic, events.get(n % events.size()))).get();
                took.add((System.nanoTime() - at) / 1e6);
            }
        });
        double passed = (System.nanoTime() - begin) / 1e9;
        Collections.sort(took);
        for (KafkaProducer<byte[], byte[]> sender : producers) sender.close();
        return String.format("{\"events_per_s\": %.0f, \"p50_ms\": %.3f, \"p99_ms\": %.3f}", took.size() / passed,
            took.get(took.size() / 2), took.get(took.size() * 99 / 100));
    }

    static double send(String topic, int connections, int count) throws Exception {
        long begin = System.nanoTime();
        together(connections, number -> {
            try (KafkaProducer<byte[], byte[]> sender = producer("5", "33554432")) {
                for (int n = number; n < count; n += connections)
                    sender.send(new ProducerRecord<>(topic, events.get(n % events.size())), (where, failed) -> {
                        if (failed == null) return;
                        System.err.println(failed);
                        System.exit(1);
                    });
                sender.flush();
            }
        });
        return (System.nanoTime() - begin) / 1e9;
    }

    static final ObjectMapper json = new ObjectMapper();

    static JsonNode parsed(byte[] bytes) {
        try {
            return json.readTree(bytes);
        } catch (Exception broken) {
            throw new IllegalStateException(broken);
        }
    }

    static void view(int connections, int count, String stateDir) throws Exception {
        StreamsBuilder builder = new StreamsBuilder();
        TimestampExtractor eventTime = (record, before) -> Instant.parse(((JsonNode) record.value()).get("timestamp").asText()).toEpochMilli();
        builder.stream("in", Consumed.with(Serdes.ByteArray(), Serdes.serdeFrom((t, v) -> null, (t, v) -> parsed(v))).withTimestampExtractor(eventTime))
            .map((key, event) -> KeyValue.pair(event.get("properties").get("status").asText(), event.get("properties").get("bytes").asLong()))
            .groupByKey(Grouped.with(Serdes.String(), Serdes.Long()))
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofHours(1), Duration.ofDays(7)))
            .aggregate(() -> new byte[16], (key, bytes, sums) -> {
                ByteBuffer old = ByteBuffer.wrap(sums);
                return ByteBuffer.allocate(16).putLong(old.getLong() + 1).putLong(old.getLong() + bytes).array();
            }, org.apache.kafka.streams.kstream.Materialized.with(Serdes.String(), Serdes.ByteArray()))
            .toStream().map((key, sums) -> KeyValue.pair(key.key() + "@" + key.window().start(), ByteBuffer.wrap(sums).getLong()))
            .to("out", Produced.with(Serdes.String(), Serdes.Long()));
        KafkaStreams streams = new KafkaStreams(builder.build(), properties("application.id", "hourly", "processing.guarantee", "exactly_once_v2",
            "commit.interval.ms", "100", "num.stream.threads", "2", "state.dir", stateDir, "replication.factor", "1", "auto.offset.reset", "earliest"));
        KafkaConsumer<String, Long> reader = new KafkaConsumer<>(properties("group.id", "reader", "isolation.level", "read_committed",
            "auto.offset.reset", "earliest"), new StringDeserializer(), new LongDeserializer());
        reader.subscribe(List.of("out"));
        streams.start();
        while (streams.state() != KafkaStreams.State.RUNNING) Thread.sleep(20);
        reader.poll(Duration.ofSeconds(1));
        long begin = System.nanoTime();
        Thread sending = new Thread(() -> {
            try {
                send("in", connections, count);
            } catch (Exception failed) {
                System.err.println(failed);
                System.exit(1);
            }
        });
        sending.start();
        Map<String, Long> rows = new HashMap<>();
        long sum = 0;
        while (sum < count) {
            for (ConsumerRecord<String, Long> row : reader.poll(Duration.ofMillis(20))) {
                Long old = rows.put(row.key(), row.value());
                sum += row.value() - (old == null ? 0 : old);
            }
        }
        double passed = (System.nanoTime() - begin) / 1e9;
        sending.join();
        if (sum != count) throw new IllegalStateException("the view holds " + sum + " instead of " + count);
        System.out.printf("{\"events_per_s\": %.0f}%n", count / passed);
        System.out.flush();
        Runtime.getRuntime().halt(0);  // its state goes with the folder
    }

    public static void main(String[] words) throws Exception {
        broker = words[0];
        for (String line : Files.readAllLines(Path.of(words[1]))) events.add(line.getBytes(StandardCharsets.UTF_8));
        int connections = Integer.parseInt(words[3]);
        int count = Integer.parseInt(words[4]);
        switch (words[2]) {
            case "single" -> {
                topics("warm-single", "single");
                System.err.println(single("warm-single", connections, count / 2.0));  // until the JIT has seen both sides
                System.out.println(single("single", connections, count));
            }
            case "bulk" -> {
                topics("warm", "bulk");
                send("warm", connections, count / 5);
                System.out.printf("{\"events_per_s\": %.0f}%n", count / send("bulk", connections, count));
            }
            case "view" -> {
                topics("in", "out");
                view(connections, count, words[5]);
            }
            default -> throw new IllegalArgumentException(words[2]);
        }
        System.exit(0);
    }
}
