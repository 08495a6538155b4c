package ottla.golden;

import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.jar.JarFile;

import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/** Writes random messages in every version: a line each, with name, version and bytes in hex. */
public final class Golden {
    private static final String[] PACKAGES = {
        "org/apache/kafka/common/message/",
        "org/apache/kafka/coordinator/group/generated/",
        "org/apache/kafka/coordinator/transaction/generated/",
        "org/apache/kafka/coordinator/share/generated/",
    };

    /** APIs that 4.0 removed, and one that it renamed. */
    private static final Set<String> REMOVED = Set.of(
        "LeaderAndIsr", "StopReplica", "UpdateMetadata", "ControlledShutdown", "ListClientMetricsResources");

    /** Usage: messages COUNT SEED FILE [FILE-WITH-VERSIONS-TO-LEAVE-OUT], or facts FILE. */
    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("facts")) {
            try (PrintStream out = new PrintStream(arguments[1], StandardCharsets.UTF_8)) {
                writeFacts(out);
            }
            return;
        }
        Set<String> leftOut = new HashSet<>();
        if (arguments.length > 4) {
            for (String line : Files.readAllLines(Path.of(arguments[4]))) {
                leftOut.add(line.substring(0, line.lastIndexOf(' ')));
            }
        }
        try (PrintStream out = new PrintStream(arguments[3], StandardCharsets.UTF_8)) {
            writeMessages(out, Integer.parseInt(arguments[1]), Long.parseLong(arguments[2]), leftOut);
        }
    }

    private static void writeMessages(PrintStream out, int count, long seed, Set<String> leftOut) throws Exception {
        int written = 0;
        for (var entry : messages().entrySet()) {
            String name = entry.getKey();
            if (REMOVED.contains(name.replaceAll("(Request|Response)$", ""))) {
                continue;
            }
            ApiMessage sample = entry.getValue().getDeclaredConstructor().newInstance();
            for (short version = sample.lowestSupportedVersion(); version <= highest(name, sample); version++) {
                if (leftOut.contains(name + " " + version)) {
                    continue;
                }
                for (int index = 0; index < count; index++) {
                    byte[] bytes = random(entry.getValue(), version, seed ^ (name + version + "#" + index).hashCode());
                    out.println(name + " " + version + " " + HexFormat.of().formatHex(bytes));
                    written++;
                }
            }
        }
        System.err.println(written + " messages");
    }

    /** Serialises a random message; another one if Kafka refuses it, such as null where only the schema allows it. */
    private static byte[] random(Class<? extends ApiMessage> type, short version, long seed) throws Exception {
        RuntimeException last = null;
        for (int attempt = 0; attempt < 100; attempt++) {
            ApiMessage message = type.getDeclaredConstructor().newInstance();
            new Filler(new Random(seed + attempt * 7919L), version).fill(message);
            try {
                ObjectSerializationCache cache = new ObjectSerializationCache();
                ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
                message.write(new ByteBufferAccessor(buffer), cache, version);
                if (buffer.hasRemaining()) {
                    throw new IllegalStateException("size was wrong");
                }
                return buffer.array();
            } catch (RuntimeException e) {
                last = e;
            }
        }
        throw new IllegalStateException(type + " version " + version, last);
    }

    /** The highest version that is not marked unstable. */
    private static short highest(String name, ApiMessage sample) {
        if (!name.endsWith("Request") && !name.endsWith("Response") || sample.apiKey() < 0) {
            return sample.highestSupportedVersion();
        }
        return ApiMessageType.fromApiKey(sample.apiKey()).highestSupportedVersion(false);
    }

    /** All message classes on the class path, by Kafka's name for the message. */
    private static TreeMap<String, Class<? extends ApiMessage>> messages() throws Exception {
        TreeMap<String, Class<? extends ApiMessage>> found = new TreeMap<>();
        for (String file : classPath()) {
            if (!file.endsWith(".jar")) {
                continue;
            }
            try (JarFile jar = new JarFile(file)) {
                for (var entry : java.util.Collections.list(jar.entries())) {
                    add(found, entry.getName());
                }
            }
        }
        return found;
    }

    private static String[] classPath() {
        ClassLoader loader = Golden.class.getClassLoader();
        if (loader instanceof java.net.URLClassLoader urls) {
            return java.util.Arrays.stream(urls.getURLs()).map(url -> url.getPath()).toArray(String[]::new);
        }
        return System.getProperty("java.class.path").split(File.pathSeparator);
    }

    private static void add(TreeMap<String, Class<? extends ApiMessage>> found, String entry) throws Exception {
        for (String prefix : PACKAGES) {
            if (entry.startsWith(prefix) && entry.endsWith(".class") && !entry.contains("$")
                && !entry.endsWith("JsonConverter.class")) {
                Class<?> type = Class.forName(entry.substring(0, entry.length() - 6).replace('/', '.'));
                if (ApiMessage.class.isAssignableFrom(type)) {
                    String name = type.getSimpleName().replaceAll("(Request|Response|Header)Data$", "$1");
                    found.put(name, type.asSubclass(ApiMessage.class));
                }
            }
        }
    }

    /** Error codes, and the header versions of every API. */
    private static void writeFacts(PrintStream out) throws IOException {
        for (Errors error : Errors.values()) {
            boolean isRetriable = error.exception() instanceof RetriableException;
            out.println("error " + error.code() + " " + error.name() + " " + isRetriable);
        }
        for (ApiMessageType type : ApiMessageType.values()) {
            for (short version = type.lowestSupportedVersion(); version <= type.highestSupportedVersion(false); version++) {
                out.println("api " + type.apiKey() + " " + type.name + " " + version + " "
                    + type.requestHeaderVersion(version) + " " + type.responseHeaderVersion(version));
            }
        }
    }

    private Golden() {}
}
