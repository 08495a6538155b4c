package ottla;

import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Members that come, share, go and come back, with every assignor and both protocols. Prints a line for each that held. */
final class Groups {
    private static final Duration PATIENCE = Duration.ofSeconds(40);
    private static final Duration POLL = Duration.ofMillis(50);

    private final String bootstrap;
    private final String topic;
    private final int partitions;

    private Groups(String bootstrap, String topic) {
        this.bootstrap = bootstrap;
        this.topic = topic;
        try (var consumer = consumer("asking", Map.of())) {
            this.partitions = consumer.partitionsFor(topic).size();
        }
    }

    static void run(String bootstrap, String topic) {
        var groups = new Groups(bootstrap, topic);
        for (String assignor : List.of("Range", "RoundRobin", "Sticky", "CooperativeSticky")) {
            String strategy = "org.apache.kafka.clients.consumer." + assignor + "Assignor";
            groups.share(assignor, Map.of("partition.assignment.strategy", strategy, "heartbeat.interval.ms", 200));
        }
        for (String assignor : List.of("uniform", "range")) {
            groups.share("consumer-" + assignor, Map.of("group.protocol", "consumer", "group.remote.assignor", assignor));
        }
        groups.comeBack("static", Map.of("heartbeat.interval.ms", 200));
        groups.comeBack("consumer-static", Map.of("group.protocol", "consumer"));
    }

    private KafkaConsumer<String, String> consumer(String group, Map<String, Object> settings) {
        Map<String, Object> config = new HashMap<>(settings);
        config.put("bootstrap.servers", bootstrap);
        config.put("group.id", group);
        config.put("enable.auto.commit", false);
        config.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    /** Two members share all partitions, each commits for its own, and who stays gets everything, where the other stopped. */
    private void share(String name, Map<String, Object> settings) {
        String group = "java-" + name;
        try (var stays = consumer(group, settings)) {
            stays.subscribe(List.of(topic));
            try (var goes = consumer(group, settings)) {
                goes.subscribe(List.of(topic));
                await(name + ": both have a share", () -> {
                    stays.poll(POLL);
                    goes.poll(POLL);
                    Set<TopicPartition> all = new HashSet<>(stays.assignment());
                    boolean isDisjoint = all.addAll(goes.assignment())
                        && all.size() == stays.assignment().size() + goes.assignment().size();
                    return isDisjoint && all.size() == partitions && !stays.assignment().isEmpty();
                });
                await(name + ": both commit", () -> bothCommit(stays, goes));
            }
            await(name + ": one has everything", () -> {
                stays.poll(POLL);
                return stays.assignment().size() == partitions;
            });
            var committed = stays.committed(stays.assignment());
            var offsets = committed.values().stream().map(OffsetAndMetadata::offset).distinct().sorted().toList();
            if (committed.size() != partitions || !offsets.equals(List.of(1L, 2L))) {
                throw new IllegalStateException(name + ": committed " + committed);
            }
        }
        System.out.println(name + " shares");
    }

    /** With a cooperative assignor a rebalance may still be under way when all partitions are shared already. */
    private boolean bothCommit(KafkaConsumer<String, String> stays, KafkaConsumer<String, String> goes) {
        try {
            commit(stays, 1);
            commit(goes, 2);
            return true;
        } catch (RebalanceInProgressException unfinished) {
            stays.poll(POLL);
            goes.poll(POLL);
            return false;
        }
    }

    private void commit(KafkaConsumer<String, String> consumer, long offset) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        consumer.assignment().forEach(partition -> offsets.put(partition, new OffsetAndMetadata(offset)));
        consumer.commitSync(offsets);
    }

    /** A static member is away for a moment, and has its partitions at once when it is back. */
    private void comeBack(String name, Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(settings);
        all.put("group.instance.id", "instance");
        int before = generation(name, all);
        int after = generation(name, all);
        if (before != after) {
            throw new IllegalStateException(name + ": a rebalance, " + before + " to " + after);
        }
        System.out.println(name + " comes back");
    }

    private int generation(String name, Map<String, Object> settings) {
        try (var consumer = consumer("java-" + name, settings)) {
            consumer.subscribe(List.of(topic));
            await(name + ": everything", () -> {
                consumer.poll(POLL);
                return consumer.assignment().size() == partitions;
            });
            commit(consumer, 1);
            return consumer.groupMetadata().generationId();
        }
    }

    private static void await(String what, BooleanSupplier holds) {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (!holds.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException("not in time: " + what);
            }
        }
    }
}
