import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Runs the cases named on the command line, several at a time, and prints a JSON line for each: Harness BOOTSTRAP [CASE...] */
public final class Harness {
    private Harness() {}

    /** Marks a static method of one Run as a case. */
    @Retention(RetentionPolicy.RUNTIME)
    @interface Case {}

    static final int CASE_SECONDS = 120;
    static final int TOGETHER = 6;  // most of a case is waiting: for a rebalance, a heartbeat, a timeout
    private static PrintStream results;

    /** One run of one case: the broker's address, and names that no other case and no earlier run has. */
    static final class Run {
        final String bootstrap;
        final String topic;
        final String group;
        final String transactionalId;

        Run(String bootstrap, String name) {
            this.bootstrap = bootstrap;
            topic = ("java-" + name + "-" + ProcessHandle.current().pid()).replace('_', '-');
            group = topic + "-group";
            transactionalId = topic + "-tx";
        }
    }

    interface Condition {
        boolean holds() throws Exception;
    }

    static void waitUntil(String what, int seconds, Condition condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        while (!condition.holds()) {
            if (System.nanoTime() > end) throw new AssertionError(what + " did not come true in " + seconds + " s");
            Thread.sleep(50);
        }
    }

    static void waitUntil(String what, Condition condition) throws Exception {
        waitUntil(what, 40, condition);
    }

    static void expect(String what, Object found, Object wanted) {
        if (!Objects.equals(found, wanted)) throw new AssertionError(what + ": found " + shorten(found) + ", expected " + shorten(wanted));
    }

    static void check(String what, boolean holds) {
        if (!holds) throw new AssertionError(what);
    }

    /** The failure of `action`, through the wrappers that futures put around it. */
    static Throwable failureOf(Callable<?> action) {
        try {
            action.call();
            return null;
        } catch (Throwable failure) {
            while (failure instanceof java.util.concurrent.ExecutionException && failure.getCause() != null) failure = failure.getCause();
            return failure;
        }
    }

    @SafeVarargs
    static void expectFailure(String what, Callable<?> action, Class<? extends Throwable>... wanted) {
        Throwable failure = failureOf(action);
        if (failure == null) throw new AssertionError(what + ": not refused");
        if (Arrays.stream(wanted).noneMatch(w -> w.isInstance(failure))) throw new AssertionError(what + ": refused otherwise", failure);
    }

    private static String shorten(Object value) {
        String text = String.valueOf(value);
        return text.length() < 400 ? text : text.substring(0, 400) + "...";
    }

    private static String json(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') out.append('\\').append(c);
            else if (c < ' ') out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        return out.append('"').toString();
    }

    private static synchronized void report(String name, long began, String error) {
        results.printf("{\"case\": %s, \"ok\": %b, \"detail\": %s, \"seconds\": %.1f}%n", json(name), error == null,
                       json(error == null ? "" : error), (System.nanoTime() - began) / 1e9);
        results.flush();
    }

    private static void runOne(Method method, String bootstrap) {
        long began = System.nanoTime();
        Thread[] thread = new Thread[1];
        ExecutorService own = Executors.newSingleThreadExecutor(body -> thread[0] = new Thread(body));
        Future<?> done = own.submit(() -> {
            try {
                method.invoke(null, new Run(bootstrap, method.getName()));
            } catch (InvocationTargetException thrown) {
                throw thrown.getCause() instanceof Exception e ? e : new Exception(thrown.getCause());
            }
            return null;
        });
        own.shutdown();
        try {
            done.get(CASE_SECONDS, TimeUnit.SECONDS);
            report(method.getName(), began, null);
        } catch (TimeoutException late) {
            report(method.getName(), began, "not done after " + CASE_SECONDS + " s; it is at " + Arrays.toString(thread[0].getStackTrace()));
            done.cancel(true);
        } catch (Exception failed) {
            StringWriter text = new StringWriter();
            failed.printStackTrace(new PrintWriter(text));
            report(method.getName(), began, text.toString());
        }
    }

    public static void main(String[] arguments) throws Exception {
        results = System.out;
        System.setOut(System.err);  // what the clients log is no result
        Map<String, Method> cases = new LinkedHashMap<>();
        for (Class<?> some : List.of(ClientCases.class, AdminCases.class, ShareCases.class, StreamsCases.class))
            for (Method method : some.getDeclaredMethods())
                if (method.isAnnotationPresent(Case.class)) cases.put(method.getName(), method);
        List<String> names = arguments.length > 1 ? Arrays.asList(arguments).subList(1, arguments.length) : new ArrayList<>(cases.keySet());
        ExecutorService pool = Executors.newFixedThreadPool(TOGETHER);
        for (String name : names) {
            Method method = Objects.requireNonNull(cases.get(name), name);
            method.setAccessible(true);
            pool.submit(() -> runOne(method, arguments[0]));
        }
        pool.shutdown();
        pool.awaitTermination(1, TimeUnit.HOURS);
        results.flush();
        Runtime.getRuntime().halt(0);  // a client that did not end is no reason to wait
    }
}
