import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command-line tools one after the other in one JVM, as their scripts would each in its own.
 *
 * <p>A line of standard input is a tool's name and its arguments, separated by tabs. The answer is a line of its exit status and
 * the number of bytes that follow: what it printed. The arguments of the program are the tools, {@code name=class} each.
 */
public final class ToolServer {
    /** Thrown where a tool ends its JVM. */
    private static final class Ended extends Error {
        Ended() {
            super("ended", null, false, false);
        }
    }

    private static ByteArrayOutputStream printed;
    private static int status;
    private static int length;

    public static void main(String[] tools) throws Exception {
        Map<String, String> classes = new HashMap<>();
        for (String tool : tools) {
            int equals = tool.indexOf('=');
            classes.put(tool.substring(0, equals), tool.substring(equals + 1));
        }
        Exit.setExitProcedure((code, message) -> end(code));
        Exit.setHaltProcedure((code, message) -> end(code));
        PrintStream answers = System.out;
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null;) {
            String[] words = line.split("\t");
            byte[] text = run(classes.get(words[0]), Arrays.copyOfRange(words, 1, words.length));
            answers.println(status + " " + text.length);
            answers.write(text);
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    /** The first end counts: what a tool would do after it, it would not have done. */
    private static void end(int code) {
        if (status < 0) {
            System.out.flush();
            status = code;
            length = printed.size();
        }
        throw new Ended();
    }

    private static byte[] run(String tool, String[] arguments) {
        printed = new ByteArrayOutputStream();
        PrintStream out = new PrintStream(printed, true, StandardCharsets.UTF_8);
        System.setOut(out);
        System.setErr(out);
        status = -1;
        try {
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException e) {
            if (status < 0) {
                e.getCause().printStackTrace(out);
                end(1, out);
            }
        } catch (ReflectiveOperationException e) {
            e.printStackTrace(out);
            end(1, out);
        }
        if (status < 0) {
            end(0, out);
        }
        return Arrays.copyOf(printed.toByteArray(), length);
    }

    private static void end(int code, PrintStream out) {
        out.flush();
        status = code;
        length = printed.size();
    }
}
