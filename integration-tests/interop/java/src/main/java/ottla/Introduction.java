package ottla;

import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.LongSerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What an introduction to Kafka shows first: a producer of Long keys and String values, and a consumer that prints. */
final class Introduction {
    private Introduction() {}

    static void run(String bootstrap, String topic, int count) throws Exception {
        sendAndWait(bootstrap, topic, count);
        sendWithCallback(bootstrap, topic, count);
        consume(bootstrap, topic, 2 * count);
    }

    private static KafkaProducer<Long, String> producer(String bootstrap) {
        Properties properties = new Properties();
        properties.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        properties.put(ProducerConfig.CLIENT_ID_CONFIG, "KafkaExampleProducer");
        properties.put(ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, LongSerializer.class.getName());
        properties.put(ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, StringSerializer.class.getName());
        return new KafkaProducer<>(properties);
    }

    private static void sendAndWait(String bootstrap, String topic, int count) throws Exception {
        try (var producer = producer(bootstrap)) {
            for (long index = 0; index < count; index++) {
                var metadata = producer.send(new ProducerRecord<>(topic, index, "Hello Mom " + index)).get();
                System.out.printf("sent record(key=%d) meta(partition=%d, offset=%d)%n",
                    index, metadata.partition(), metadata.offset());
            }
        }
    }

    private static void sendWithCallback(String bootstrap, String topic, int count) throws Exception {
        var latch = new CountDownLatch(count);
        try (var producer = producer(bootstrap)) {
            for (long index = count; index < 2L * count; index++) {
                producer.send(new ProducerRecord<>(topic, index, "Hello Mom " + index), (metadata, exception) -> {
                    if (exception != null) {
                        exception.printStackTrace();
                    } else {
                        latch.countDown();
                    }
                });
            }
            if (!latch.await(25, TimeUnit.SECONDS)) {
                throw new IllegalStateException(latch.getCount() + " callbacks did not come");
            }
        }
    }

    private static void consume(String bootstrap, String topic, int count) {
        Properties properties = new Properties();
        properties.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        properties.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, LongDeserializer.class.getName());
        properties.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class.getName());
        properties.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false");
        try (var consumer = new KafkaConsumer<Long, String>(properties)) {
            Interop.assignAll(consumer, topic);
            int seen = 0;
            for (int polls = 0; seen < count && polls < 60; polls++) {
                for (var record : consumer.poll(Duration.ofMillis(500))) {
                    System.out.printf("Consumer Record:(%d, %s, %d, %d)%n",
                        record.key(), record.value(), record.partition(), record.offset());
                    seen++;
                }
            }
            if (seen != count) {
                throw new IllegalStateException("read " + seen + " of " + count + " records");
            }
        }
    }
}
