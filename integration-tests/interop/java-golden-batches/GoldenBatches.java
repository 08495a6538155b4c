import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.zip.CRC32C;

import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.DefaultRecordBatch;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.utils.ByteBufferOutputStream;

/** Writes record batches with Kafka's own classes, and checks with them what Ottla wrote. */
public class GoldenBatches {
    private static final long TIME = 1_700_000_000_000L;

    public static void main(String[] args) throws IOException {
        Path folder = Path.of(args[1]);
        switch (args[0]) {
            case "--write" -> write(folder);
            case "--verify" -> verify(folder);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static void write(Path folder) throws IOException {
        Files.createDirectories(folder);
        for (var entry : batches().entrySet()) {
            ByteBuffer buffer = entry.getValue().buffer();
            byte[] bytes = new byte[buffer.remaining()];
            buffer.get(bytes);
            Files.write(folder.resolve(entry.getKey() + ".batch"), bytes);
            Files.writeString(folder.resolve(entry.getKey() + ".txt"), describe(bytes));
        }
    }

    private static void verify(Path folder) throws IOException {
        int checked = 0;
        List<Path> files;
        try (var all = Files.list(folder)) {
            files = all.filter(file -> file.toString().endsWith(".batch")).sorted().toList();
        }
        for (Path file : files) {
            String found = describe(Files.readAllBytes(file));
            String expected = Files.readString(Path.of(file.toString().replace(".batch", ".txt")));
            if (!found.equals(expected)) {
                System.err.println(file + " differs; Java reads\n" + found + "where expected is\n" + expected);
                System.exit(1);
            }
            checked++;
        }
        if (checked == 0) {
            System.err.println("no batches in " + folder);
            System.exit(1);
        }
        System.out.println(checked + " files read by Java as expected");
    }

    private static TreeMap<String, MemoryRecords> batches() {
        var made = new TreeMap<String, MemoryRecords>();
        for (CompressionType type : CompressionType.values()) {
            Compression compression = Compression.of(type).build();
            var small = builder(compression, TimestampType.CREATE_TIME, 0, -1, (short) -1, -1, false, false);
            oddRecords(small);
            made.put("small-" + type.name, small.build());
            var large = builder(compression, TimestampType.CREATE_TIME, 0, -1, (short) -1, -1, false, false);
            int count = type == CompressionType.NONE ? 100 : 3000;
            for (int i = 0; i < count; i++)
                large.append(TIME + i * 7L % 1000, utf8("station-" + i % 17), utf8(reading(i)), new Header[0]);
            made.put("large-" + type.name, large.build());
        }
        var appendTime = builder(Compression.NONE, TimestampType.LOG_APPEND_TIME, 1234, -1, (short) -1, -1, false, false);
        oddRecords(appendTime);
        made.put("log-append-time", appendTime.build());
        var idempotent = builder(Compression.zstd().build(), TimestampType.CREATE_TIME, 0, 4711, (short) 3, 2147483646, false, false);
        oddRecords(idempotent);
        made.put("idempotent", idempotent.build());
        var transactional = builder(Compression.lz4().build(), TimestampType.CREATE_TIME, 0, 4711, (short) 3, 0, true, false);
        oddRecords(transactional);
        made.put("transactional", transactional.build());
        for (ControlRecordType type : List.of(ControlRecordType.COMMIT, ControlRecordType.ABORT))
            made.put("control-" + type.name().toLowerCase(), MemoryRecords.withEndTransactionMarker(
                    99, TIME, 5, 4711, (short) 3, new EndTransactionMarker(type, 12)));
        made.put("gaps-and-delete-horizon", compacted());
        made.put("two-batches", two(made.get("small-gzip"), made.get("idempotent")));
        return made;
    }

    private static MemoryRecordsBuilder builder(Compression compression, TimestampType timestampType, long baseOffset,
            long producerId, short producerEpoch, int baseSequence, boolean transactional, boolean control) {
        return MemoryRecords.builder(ByteBuffer.allocate(1 << 16), RecordBatch.MAGIC_VALUE_V2, compression, timestampType,
                baseOffset, TIME + 5, producerId, producerEpoch, baseSequence, transactional, control, 7);
    }

    /** Every way in which keys, values, headers and times can be unusual. */
    private static void oddRecords(MemoryRecordsBuilder builder) {
        builder.append(TIME, utf8("key"), utf8("value"), new Header[0]);
        builder.append(TIME + 1000, (byte[]) null, utf8("no key"), new Header[0]);
        builder.append(TIME - 1000, utf8("tombstone"), null, new Header[0]);
        builder.append(TIME, (byte[]) null, null, new Header[0]);
        builder.append(TIME, new byte[0], new byte[0], new Header[0]);
        builder.append(TIME, utf8("headers"), utf8("héllo"), new Header[] {
            new RecordHeader("b", utf8("1")), new RecordHeader("a", (byte[]) null), new RecordHeader("b", utf8("2")),
            new RecordHeader("", new byte[0]), new RecordHeader("ключ", new byte[] {0, -1})});
        builder.append(TIME, utf8("long"), utf8("x".repeat(300)), new Header[0]);
        builder.append(0L, utf8("1970"), new byte[] {-128, 0, 127}, new Header[0]);
    }

    private static MemoryRecords compacted() {
        var builder = new MemoryRecordsBuilder(new ByteBufferOutputStream(1024), RecordBatch.MAGIC_VALUE_V2,
                Compression.gzip().build(), TimestampType.CREATE_TIME, 1000L, RecordBatch.NO_TIMESTAMP, -1L, (short) -1, -1,
                false, false, 2, 1024, TIME + 86_400_000L);
        builder.appendWithOffset(1000, TIME, utf8("a"), utf8("1"), new Header[0]);
        builder.appendWithOffset(1007, TIME + 3, utf8("b"), null, new Header[0]);
        builder.appendWithOffset(70_000, TIME + 9, utf8("c"), utf8("3"), new Header[0]);
        return builder.build();
    }

    private static MemoryRecords two(MemoryRecords first, MemoryRecords second) {
        ByteBuffer both = ByteBuffer.allocate(first.sizeInBytes() + second.sizeInBytes());
        both.put(first.buffer()).put(second.buffer()).flip();
        return MemoryRecords.readableRecords(both);
    }

    /** What is in the bytes, in a form that Ottla's tests write too; of a long text only the batches and a checksum. */
    private static String describe(byte[] bytes) {
        String full = describeRecords(bytes);
        if (full.length() <= 16_384)
            return full;
        var checksum = new CRC32C();
        checksum.update(utf8(full));
        String batches = full.lines().filter(line -> line.startsWith("batch")).collect(Collectors.joining("\n"));
        return batches + "\nrecords with crc " + checksum.getValue() + "\n";
    }

    private static String describeRecords(byte[] bytes) {
        var out = new StringBuilder();
        for (MutableRecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)).batches()) {
            batch.ensureValid();
            out.append("batch offsets ").append(batch.baseOffset()).append("..").append(batch.lastOffset())
                    .append(" epoch ").append(batch.partitionLeaderEpoch())
                    .append(" crc ").append(batch.checksum())
                    .append(" codec ").append(batch.compressionType().name)
                    .append(batch.timestampType() == TimestampType.LOG_APPEND_TIME ? " append-time" : "")
                    .append(batch.isTransactional() ? " transactional" : "")
                    .append(batch.isControlBatch() ? " control" : "")
                    .append(batch.deleteHorizonMs().isPresent() ? " horizon " + batch.deleteHorizonMs().getAsLong() : "")
                    .append(" base-time ").append(((DefaultRecordBatch) batch).baseTimestamp())
                    .append(" max-time ").append(batch.maxTimestamp())
                    .append(" producer ").append(batch.producerId()).append('/').append(batch.producerEpoch())
                    .append(" sequences ").append(batch.baseSequence()).append("..").append(batch.lastSequence())
                    .append(" count ").append(batch.countOrNull()).append('\n');
            for (Record record : batch) {
                out.append(record.offset()).append(' ').append(record.timestamp())
                        .append(' ').append(hex(record.hasKey() ? bytes(record.key()) : null))
                        .append(' ').append(hex(record.hasValue() ? bytes(record.value()) : null));
                for (Header header : record.headers())
                    out.append(' ').append(hex(utf8(header.key()))).append('=').append(hex(header.value()));
                out.append('\n');
            }
        }
        return out.toString();
    }

    private static String reading(int i) {
        return "{\"station\":" + i % 17 + ",\"magnitude\":" + i * 31 % 89 / 10.0 + ",\"depth\":" + i * 7 % 600 + "}";
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] bytes(ByteBuffer buffer) {
        byte[] out = new byte[buffer.remaining()];
        buffer.duplicate().get(out);
        return out;
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? "null" : "'" + HexFormat.of().formatHex(bytes) + "'";
    }
}
