package ottla;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The two commands that every foreign client of the test suite has; see README.md. */
public final class Interop {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration PATIENCE = Duration.ofSeconds(30);

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "produce" -> produce(args[1], args[2], args[3], Path.of(args[4]));
            case "consume" -> consume(args[1], args[2], Integer.parseInt(args[3]));
            case "group" -> group(args[1], args[2], args[3], Integer.parseInt(args[4]), args.length > 5 ? args[5] : "classic");
            case "groups" -> Groups.run(args[1], args[2]);
            case "introduction" -> Introduction.run(args[1], args[2], Integer.parseInt(args[3]));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static void produce(String bootstrap, String topic, String codec, Path file) throws Exception {
        Map<String, Object> config = Map.of(
            "bootstrap.servers", bootstrap, "compression.type", codec, "linger.ms", 5, "delivery.timeout.ms", 30_000,
            "request.timeout.ms", 10_000);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            int line = 0;
            long time = 0;
            for (String text : Files.readAllLines(file)) {
                var event = JSON.readTree(text);
                time = event.get("time").asLong();
                sent.add(producer.send(record(topic, time, event.get("network").asText(), text, line++)));
            }
            sent.add(producer.send(record(topic, time, "special-empty", "", line++)));
            sent.add(producer.send(record(topic, time, "special-null", null, line++)));
            sent.add(producer.send(record(topic, time, null, "keyless", line++)));
            for (var future : sent) {
                future.get();
            }
        }
    }

    private static ProducerRecord<String, String> record(String topic, long time, String key, String value, int line) {
        var record = new ProducerRecord<>(topic, null, time, key, value);
        record.headers().add("client", "java".getBytes(StandardCharsets.UTF_8));
        record.headers().add("line", Integer.toString(line).getBytes(StandardCharsets.UTF_8));
        return record;
    }

    private static void consume(String bootstrap, String topic, int count) throws Exception {
        Map<String, Object> config = Map.of(
            "bootstrap.servers", bootstrap, "auto.offset.reset", "earliest", "enable.auto.commit", false);
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            assignAll(consumer, topic);
            int seen = 0;
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            while (seen < count) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("only " + seen + " of " + count + " records came in time");
                }
                for (var record : consumer.poll(Duration.ofMillis(500))) {
                    System.out.println(JSON.writeValueAsString(json(record)));
                    seen++;
                }
            }
        }
    }

    private static void group(String bootstrap, String topic, String group, int count, String protocol) throws Exception {
        Map<String, Object> config = Map.of(
            "bootstrap.servers", bootstrap, "auto.offset.reset", "earliest", "enable.auto.commit", false, "group.id", group,
            "group.protocol", protocol);
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
            int seen = 0;
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            while (seen < count) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("only " + seen + " of " + count + " records came in time");
                }
                for (var record : consumer.poll(Duration.ofMillis(500))) {
                    if (seen < count) {
                        System.out.println(JSON.writeValueAsString(json(record)));
                        next.put(new TopicPartition(topic, record.partition()), new OffsetAndMetadata(record.offset() + 1));
                        seen++;
                    }
                }
            }
            consumer.commitSync(next);
        }
    }

    static void assignAll(KafkaConsumer<?, ?> consumer, String topic) {
        var partitions = consumer.partitionsFor(topic).stream().map(p -> new TopicPartition(topic, p.partition())).toList();
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
    }

    private static ObjectNode json(ConsumerRecord<String, String> record) {
        ObjectNode node = JSON.createObjectNode();
        node.put("partition", record.partition()).put("offset", record.offset()).put("timestamp", record.timestamp());
        node.put("key", record.key()).put("value", record.value());
        ArrayNode headers = node.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(new String(header.value(), StandardCharsets.UTF_8));
        }
        return node;
    }
}
