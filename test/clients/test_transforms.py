"""Guest code on topics: transforms on produce and on fetch, through real clients."""
import pathlib
import subprocess
import threading
import time

import psycopg
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from draining import drain
from functions_http import put
from node import ROOT, wait_until

# keep drops values with 'd', mark makes '#' of the first byte, strict refuses 'b', trap traps at 't', spin never ends at 's'.
STEPS = pathlib.Path(__file__).with_name("steps.wat")


def connect(node, user="test"):
    host, port = node.pg.split(":")
    return psycopg.connect(host=host, port=port, user=user, dbname="millrace", autocommit=True)


@pytest.fixture(scope="module")
def steps(node):
    with connect(node) as connection:
        connection.execute(f"CREATE FUNCTION steps LANGUAGE wasm FROM '{STEPS}'")


def produce(node, topic, values, **config):
    """Gives what each value was answered with: None, or the error."""
    answers = [None] * len(values)
    producer = Producer({"bootstrap.servers": node.kafka, "linger.ms": 5, **config})
    for i, value in enumerate(values):
        producer.produce(topic, value=value, partition=0,
                         on_delivery=lambda error, _, i=i: answers.__setitem__(i, error))
    assert producer.flush(30) == 0
    return answers


def consumer_of(node, group, **config):
    return Consumer({"bootstrap.servers": node.kafka, "group.id": group, "auto.offset.reset": "earliest",
                     "enable.partition.eof": True, **config})


def read(node, topic, group="none", **config):
    consumer = consumer_of(node, group, **config)
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    return drain(consumer)


MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def test_what_is_produced_is_filtered_and_mapped(node, sql, steps):
    sql("CREATE TOPIC come")
    sql("ALTER TOPIC come ADD TRANSFORM steps.keep ON PRODUCE")
    sql("ALTER TOPIC come ADD TRANSFORM steps.mark ON PRODUCE ON ERROR skip")
    values = [b"%c %d" % (b"ad"[i % 3 == 0], i) for i in range(3000)]
    for i, codec in enumerate(CODECS):
        part = values[600 * i:600 * (i + 1)]
        assert not any(produce(node, "come", part, **{"enable.idempotence": True, "compression.type": codec}))
    assert not any(produce(node, "come", [b"d"] * 100))
    got = read(node, "come")
    assert [m.value() for m in got] == [b"#" + v[1:] for v in values if v[:1] != b"d"]
    assert [m.offset() for m in got] == [i for i, v in enumerate(values) if v[:1] != b"d"]
    kcat = subprocess.run(["kcat", "-b", node.kafka, "-C", "-t", "come", "-e", "-q"], capture_output=True, check=True, timeout=60)
    assert len(kcat.stdout.splitlines()) == 2000
    assert [row for row in sql("SHOW TRANSFORMS") if row[0] == "come"] == [
        ("come", 1, "steps.keep", "produce", None, None, "reject", "", "test", None, None, ""),
        ("come", 2, "steps.mark", "produce", None, None, "skip", "", "test", None, None, "")]
    [(records_in, records_out, state)] = sql("SELECT records_in, records_out, state FROM millrace.transforms "
                                             "WHERE topic = 'come' AND export = 'keep'")
    assert (records_in, records_out, state) == (3100, 2000, "on")
    way = [line for line, in sql("EXPLAIN TOPIC come")]
    assert way.index("  2. transform steps.keep ON PRODUCE ON ERROR reject (of test)") < way.index("to every Kafka consumer")


def test_java_clients_of_all_kinds_get_what_is_theirs(node, sql, steps, kafka_libs, tmp_path):
    """In all codecs, through transforms on produce and on fetch, by groups of both protocols and by share groups."""
    count = 60
    for topic in "j_in", "j_out":
        sql(f"CREATE TOPIC {topic}")
    for step in "keep", "mark":
        sql(f"ALTER TOPIC j_in ADD TRANSFORM steps.{step} ON PRODUCE")
        for kind in "classic", "consumer", "refused":
            sql(f"ALTER TOPIC j_out ADD TRANSFORM steps.{step} ON FETCH FOR GROUP {kind}")
    sql("CREATE USER java PASSWORD 'of-java'")
    for step in "keep", "mark":
        sql(f"ALTER TOPIC j_out ADD TRANSFORM steps.{step} ON FETCH FOR USER java")
    source = pathlib.Path(__file__).parent / "transforms" / "TransformClient.java"
    subprocess.run(["javac", "-d", tmp_path, "-cp", f"{kafka_libs}/*", source], check=True)
    every, some, empty = count * 5, count * 5 * 2 // 3, 10
    assert not any(produce(node, "j_in", [b"d"] * empty))  # offsets of which nothing is left
    jobs = [f"produce j_in {count}", f"produce j_out {count}", f"classic j_out classic {some}", f"consumer j_out consumer {some}",
            f"classic j_out other {every}", f"share j_in queue {some}", f"share j_out whole {every}", f"share j_out refused {some}",
            *(f"consumer j_out {mechanism} {some} {mechanism} java of-java" for mechanism in MECHANISMS),
            f"share j_out by-user {some} SCRAM-SHA-512 java of-java"]
    told = subprocess.run(["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{tmp_path}:{kafka_libs}/*", "TransformClient", node.kafka, *jobs],
                          stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout
    lines = [line.split() for line in told.splitlines()]

    def wanted(group, transformed, first):
        return [["record", group, str(first + i), str(1_700_000_000_000 + i), f"k{i}", CODECS[i // count],
                 f"#{i}" if transformed else f"{'a' if i % 3 else 'd'}{i}"] for i in range(every) if not transformed or i % 3]
    for group, transformed in [("classic", True), ("consumer", True), ("other", False), ("queue", True), ("whole", False),
                               *((mechanism, True) for mechanism in MECHANISMS)]:
        assert [line for line in lines if line[1] == group] == wanted(group, transformed, empty if group == "queue" else 0), group
    for group in "refused", "by-user":
        assert [line for line in lines if line[1] == group] == [["refused", group, "TopicAuthorizationException"]]


@pytest.mark.parametrize("place", ["PRODUCE", "FETCH"])
def test_a_consumer_goes_on_where_nothing_is_left(node, sql, steps, place):
    """librdkafka takes ten fetches in which it sees nothing for messages that are too large."""
    topic = f"nothing_on_{place.lower()}"
    sql(f"CREATE TOPIC {topic}")
    sql(f"ALTER TOPIC {topic} ADD TRANSFORM steps.keep ON {place}")
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": "none", "enable.partition.eof": True, "fetch.wait.max.ms": 20})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    producer, seen, ends = Producer({"bootstrap.servers": node.kafka, "linger.ms": 0}), [], -1

    def read_until(holds):
        nonlocal ends
        deadline = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < deadline
            message = consumer.poll(0.1)
            if message is not None and message.error() and message.error().code() == KafkaError._PARTITION_EOF:
                ends = message.offset()
            elif message is not None:
                seen.append(message.error() or message.value())
    for i in range(15):
        producer.produce(topic, value=b"d", partition=0)
        assert producer.flush(30) == 0
        read_until(lambda: ends == i + 1)  # a fetch of its own for each
    producer.produce(topic, value=b"a", partition=0)
    assert producer.flush(30) == 0
    read_until(lambda: seen)
    consumer.close()
    assert seen == [b"a"]


def test_transactions_go_through_a_filter(node, sql, steps):
    sql("CREATE TOPIC paid")
    sql("ALTER TOPIC paid ADD TRANSFORM steps.keep ON PRODUCE")
    producer = Producer({"bootstrap.servers": node.kafka, "transactional.id": "through-a-filter"})
    producer.init_transactions(30)
    for values, commits in ([b"a1", b"d1", b"a2"], True), ([b"a3"], False), ([b"d2"], True), ([b"a4"], True):
        producer.begin_transaction()
        for value in values:
            producer.produce("paid", value=value, partition=0)
        producer.commit_transaction(30) if commits else producer.abort_transaction(30)
    assert [m.value() for m in read(node, "paid", **{"isolation.level": "read_committed"})] == [b"a1", b"a2", b"a4"]


def test_each_group_gets_its_own(node, sql, steps):
    sql("CREATE TOPIC out")
    sql("ALTER TOPIC out ADD TRANSFORM steps.mark ON FETCH FOR GROUP masked")
    sql("ALTER TOPIC out ADD TRANSFORM steps.keep ON FETCH FOR GROUP few ON ERROR skip")
    values = [b"a", b"d"] * 500 + [b"d"] * 2000
    assert not any(produce(node, "out", values))

    def by_group(group, client, **config):
        consumer = consumer_of(node, group, **{"client.id": client, **config})
        consumer.subscribe(["out"])
        return [m.value() for m in drain(consumer)]
    assert by_group("masked", "client of masked") == [b"#"] * 3000
    assert by_group("few", "client of few", **{"group.protocol": "consumer"}) == [b"a"] * 500
    assert by_group("all", "client of all") == values
    # One client.id for two groups that see different things: it cannot be told which one fetches.
    first = consumer_of(node, "masked", **{"client.id": "shared"})
    second = consumer_of(node, "few", **{"client.id": "shared"})
    for consumer in first, second:
        consumer.subscribe(["out"])

    def told():
        first.poll(0.05)
        second.poll(0.05)
        return "Give the consumers of each group a client.id" in node.log()
    wait_until(told, what="the refusal")
    first.close()
    second.close()


def test_what_fails_is_refused_set_aside_or_left_out(node, sql, steps):
    for way in "reject", "dead_letter", "skip":
        sql(f"CREATE TOPIC fails_{way}")
        sql(f"ALTER TOPIC fails_{way} ADD TRANSFORM steps.strict ON PRODUCE ON ERROR {way}")
    values = [b"a", b"bad", b"c"]
    answers = produce(node, "fails_reject", values)
    assert all(answer is not None for answer in answers) and "INVALID_RECORD" in str(answers[0])
    assert read(node, "fails_reject") == []
    for way in "dead_letter", "skip":
        assert not any(produce(node, f"fails_{way}", values))
        assert [m.value() for m in read(node, f"fails_{way}")] == [b"a", b"c"]
    [letter] = read(node, "fails_dead_letter.dead_letter")
    headers = dict(letter.headers())
    assert (letter.value(), headers["topic"], headers["reason"]) == (b"bad", b"fails_dead_letter", b"steps.strict: bad record")
    assert sql("SELECT failed_records FROM millrace.transforms WHERE topic = 'fails_skip'") == [(1,)]
    assert ("steps", "warning", "a batch came") in sql("SELECT function, level, text FROM millrace.module_logs")


def test_what_cannot_be_is_told(node, sql, steps):
    def refused(statement, code, *words):
        with pytest.raises(psycopg.Error) as error:
            sql(statement)
        told = f"{error.value.diag.message_primary} {error.value.diag.message_hint}"
        assert error.value.sqlstate == code, told
        assert all(word in told for word in words), told
        return error.value.diag.statement_position
    sql("CREATE TOPIC told")
    sql("ALTER TOPIC told ADD TRANSFORM steps.keep ON FETCH")
    assert refused("ALTER TOPIC told ADD TRANSFORM steps.twice ON PRODUCE", "0A000", "expand", "CREATE TRANSFORM") == "32"
    refused("ALTER TOPIC told ADD TRANSFORM steps.none ON PRODUCE", "42883", "no export", "keep (filter)")
    refused("ALTER TOPIC told ADD TRANSFORM steps ON PRODUCE", "42883", "several exports")
    refused("ALTER TOPIC told ADD TRANSFORM nothing ON PRODUCE", "42883", "does not exist")
    refused("ALTER TOPIC told ADD TRANSFORM steps.keep(a => 1) ON PRODUCE", "22023", "keep")
    refused("ALTER TOPIC told ADD TRANSFORM steps.keep ON FETCH FOR USER u", "42P01", "u", "CREATE USER")
    refused("ALTER TOPIC told ADD TRANSFORM steps.keep ON PRODUCE FOR USER u", "42601", "ON FETCH")
    refused("ALTER TOPIC told ADD TRANSFORM steps.keep ON FETCH", "42P07", "already")
    refused("ALTER TOPIC told DROP TRANSFORM steps.mark", "42P01", "steps.keep ON FETCH")
    refused("DROP FUNCTION steps", "2BP01", "told")
    refused("CREATE FUNCTION broken LANGUAGE wasm FROM 'data:application/wasm;base64,AAAA'", "22023")
    refused("CREATE FUNCTION broken LANGUAGE wasm FROM '/no/such/file.wasm'", "58P01", "/no/such/file.wasm")
    refused("CREATE FUNCTION broken LANGUAGE lua FROM 'x'", "42601", "wasm")
    with connect(node, "mallory") as other:
        for statement in ("ALTER TOPIC told DROP TRANSFORM steps.keep", f"CREATE OR REPLACE FUNCTION steps LANGUAGE wasm FROM '{STEPS}'"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                other.execute(statement)
    sql("CREATE OR REPLACE TOPIC told WITH (retention = '1 hour')")
    assert [row[2] for row in sql("SHOW TRANSFORMS") if row[0] == "told"] == ["steps.keep"]
    sql("ALTER TOPIC told DROP TRANSFORM steps")
    assert not [row for row in sql("SHOW TRANSFORMS") if row[0] == "told"]


def test_limits_and_look_back_are_declared_shown_and_kept(node, sql, steps):
    subprocess.run([ROOT / "tools" / "guests.sh", "cpp"], check=True, capture_output=True)
    sql(f"CREATE FUNCTION tour LANGUAGE wasm FROM '{ROOT / 'build' / 'guests' / 'cpp' / 'tour.wasm'}'")
    sql("CREATE TOPIC once")

    def produce_keys(*keys):
        producer = Producer({"bootstrap.servers": node.kafka})
        for key in keys:
            producer.produce("once", key=key, value=b"x", partition=0)
        assert producer.flush(30) == 0
    produce_keys(b"a", b"b", b"c")
    limits = "WITH (memory = 16777216, time_slice = '200 ms', expansion = 4, look_back = 2)"
    sql(f"ALTER TOPIC once ADD TRANSFORM tour.unseen ON PRODUCE ON ERROR skip {limits}")
    # It begins with the last two records, and looks at no other before its first batch.
    produce_keys(b"a", b"b", b"c", b"d")
    assert [m.key() for m in read(node, "once")] == [b"a", b"b", b"c", b"a", b"d"]
    [row] = [row for row in sql("SHOW TRANSFORMS") if row[0] == "once"]
    assert row[-1] == "memory = 16777216, time_slice = '200 ms', expansion = 4, look_back = 2"
    added = f"ALTER TOPIC once ADD TRANSFORM tour.unseen ON PRODUCE ON ERROR skip {limits}"
    assert sql("SHOW CREATE TOPIC once")[0][0].endswith(";\n" + added)
    assert sql(f"APPLY {added}") == [("unchanged", "transform", "tour of once")]
    longer = added.replace("look_back = 2", "look_back = '10 minutes'")
    assert sql(f"APPLY DRY RUN {longer}")[0][0] == "would replace"
    assert sql(f"APPLY {longer}")[0][0] == "replaced"
    produce_keys(b"a", b"b", b"c", b"d", b"e")
    assert [m.key() for m in read(node, "once")] == [b"a", b"b", b"c", b"a", b"d", b"e"]
    assert sql(f"APPLY CREATE FUNCTION steps LANGUAGE wasm FROM '{STEPS}'") == [("unchanged", "function", "steps")]
    for option, code in ("memory = '1 GiB'", "22023"), ("time_slice = '1 minute'", "22023"), ("look_back = 1000000", "22023"), \
            ("look_back = 'soon'", "22023"), ("colour = 'red'", "42601"):
        with pytest.raises(psycopg.Error) as error:
            sql(f"ALTER TOPIC once ADD TRANSFORM tour.has_error ON FETCH WITH ({option})")
        assert error.value.sqlstate == code, error.value
    with pytest.raises(psycopg.Error, match="look-back"):
        sql("ALTER TOPIC once ADD TRANSFORM tour.has_error ON FETCH WITH (look_back = 1)")


class Reading(threading.Thread):
    """Reads a partition on and on, as it comes."""

    def __init__(self, node, topic):
        super().__init__()
        self.consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": "none"})
        self.consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        self.values, self.stopping = [], False
        self.start()

    def run(self):
        while not self.stopping:
            message = self.consumer.poll(0.1)
            if message is not None and not message.error():
                self.values.append(message.value())
        self.consumer.close()


def test_survives_kill_and_is_replaced_under_load(own_node):
    """Two modules take turns while a producer writes, a consumer reads and the node is killed: each record once, none past a transform."""
    node = own_node
    text = STEPS.read_text()
    modules = [text.replace("(i32.const 35)", f"(i32.const {mark})").encode() for mark in (35, 42)]

    def use(which):
        put(node, "steps", modules[which])
    use(0)
    with connect(node) as connection:
        for topic, place in ("came", "PRODUCE"), ("goes", "FETCH"):
            connection.execute(f"CREATE TOPIC {topic}")
            for step in "mark", "keep":
                connection.execute(f"ALTER TOPIC {topic} ADD TRANSFORM steps.{step} ON {place}")
    stop, errors, acked, sent = threading.Event(), [], 0, 0

    def on_delivery(error, _):
        nonlocal acked
        errors.extend([error] if error else [])
        acked += 1

    def load():
        nonlocal sent
        producer = Producer({"bootstrap.servers": node.kafka, "enable.idempotence": True, "linger.ms": 1})
        while not stop.is_set():
            for topic in "came", "goes":
                producer.produce(topic, value=b"x %d" % sent, partition=0, on_delivery=on_delivery)
            sent += 1
            producer.poll(0)
            time.sleep(0.0002)
        assert producer.flush(60) == 0
    thread = threading.Thread(target=load)
    thread.start()
    reading = Reading(node, "goes")

    def await_more():
        before = acked, len(reading.values)
        wait_until(lambda: acked > before[0] + 200 and len(reading.values) > before[1] + 200, what="acknowledgements and records")
    for which in 1, 0, 1:
        await_more()
        use(which)
    await_more()
    node.kill()
    node.start()
    await_more()
    stop.set()
    thread.join()
    wait_until(lambda: len(reading.values) >= sent, what="the last record")
    reading.stopping = True
    reading.join()
    assert not errors, errors[0]
    for values in [m.value() for m in read(node, "came")], reading.values:
        assert [value[1:] for value in values] == [b" %d" % i for i in range(sent)]
        changes = [values[0][:1]] + [b[:1] for a, b in zip(values, values[1:]) if a[:1] != b[:1]]
        assert changes == [b"#", b"*", b"#", b"*"]


def test_a_guest_that_never_ends_delays_no_other_topic(node, sql, steps):
    sql("CREATE TOPIC endless")
    sql("CREATE TOPIC beside")
    sql("ALTER TOPIC endless ADD TRANSFORM steps.spin ON PRODUCE ON ERROR skip")
    stop = threading.Event()

    def spin():
        producer = Producer({"bootstrap.servers": node.kafka, "linger.ms": 0})
        while not stop.is_set():
            producer.produce("endless", value=b"s", partition=0)
            producer.flush(30)
    thread = threading.Thread(target=spin)
    thread.start()
    wait_until(lambda: (sql("SELECT failed_batches FROM millrace.transforms WHERE topic = 'endless'") or [(0,)])[0][0] > 0)
    for _ in range(20):
        assert not any(produce(node, "beside", [b"a"] * 10, **{"message.timeout.ms": 10_000}))
    stop.set()
    thread.join()
    assert len(read(node, "beside")) == 200
    assert read(node, "endless") == []
