"""Pipelines (CREATE TRANSFORM): records through guests from topics into others, each exactly once, through real clients."""
import base64
import collections
import json
import pathlib
import random
import subprocess
import threading
import time

import psycopg
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from node import ROOT, wait_until

STEPS = pathlib.Path(__file__).with_name("steps.wat")
GUESTS = ROOT / "build" / "guests"
LANGUAGES = ["cpp", "rust", "assemblyscript"]


@pytest.fixture(scope="module")
def guests():
    subprocess.run([ROOT / "tools" / "guests.sh"], check=True, capture_output=True)


def connect(node, user="test"):
    host, port = node.pg.split(":")
    return psycopg.connect(host=host, port=port, user=user, dbname="millrace", autocommit=True)


def run(node, *statements):
    with connect(node) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture(scope="module")
def functions(node, guests):
    run(node, f"CREATE FUNCTION steps LANGUAGE wasm FROM '{STEPS}'", f"CREATE FUNCTION tour LANGUAGE wasm FROM '{GUESTS / 'cpp' / 'tour.wasm'}'")


def produce(node, topic, records, **config):
    """`records`: value, or (key, value), or (key, value, timestamp)."""
    producer = Producer({"bootstrap.servers": node.kafka, "enable.idempotence": True, "linger.ms": 2, **config})
    for record in records:
        key, value, timestamp = (*record, None, None)[:3] if isinstance(record, tuple) else (None, record, None)
        producer.produce(topic, key=key, value=value, **({"timestamp": timestamp} if timestamp is not None else {}))
    assert producer.flush(60) == 0


def committed(node, topic, partitions=1):
    """What a consumer that reads committed records gets of all partitions now."""
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": "reader", "isolation.level": "read_committed", "enable.auto.commit": False,
                         "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
    messages, ends, deadline = [], 0, time.monotonic() + 60
    while ends < partitions:
        assert time.monotonic() < deadline
        message = consumer.poll(0.5)
        if message is not None and message.error():
            ends += 1
        elif message is not None:
            messages.append(message)
    consumer.close()
    return messages


def values(node, topic, partitions=1):
    return [m.value() for m in committed(node, topic, partitions)]


def status(sql, name):
    return sql(f"SELECT state, lag, reason FROM millrace.transforms WHERE name = '{name}'")[0]


def caught_up(sql, name):
    wait_until(lambda: status(sql, name)[:2] == ("running", 0), what=f"{name} to catch up: {status(sql, name)}")


def test_each_kind_with_several_inputs_and_outputs(node, sql, functions):
    for topic in "in_1", "in_2", "out_b", "out_c":
        sql(f"CREATE TOPIC {topic}")
    produce(node, "in_1", [b"out_c:one\nout_b:two", b"d is dropped"])
    sql("CREATE TRANSFORM kinds FROM in_1, in_2 INTO out_b, out_c USING steps.keep, tour.lines, tour.route, tour.trim "
        "FROM BEGINNING ON ERROR skip")
    produce(node, "in_2", [b"  plain  ", b"out_c: three\nout_x:nowhere\n    "])
    caught_up(sql, "kinds")
    assert sorted(values(node, "out_b")) == [b"plain", b"two"]
    assert sorted(values(node, "out_c")) == [b"one", b"three"]
    assert not any(m.headers() for m in committed(node, "out_c"))
    assert sql("SELECT DISTINCT records_in, records_out, failed_records FROM millrace.transforms WHERE name = 'kinds'") == [(4, 4, 1)]
    assert [row for row in sql("SHOW TRANSFORMS") if row[9] == "kinds"][0] == (
        "in_1, in_2", 1, "steps.keep", "pipeline", None, None, "skip", "", "test", "kinds", "out_b, out_c", "")
    way = [line for line, in sql("EXPLAIN TOPIC in_1")]
    assert "  2. transform steps.keep ON ERROR skip (of test)" in way[way.index("to transform kinds"):]
    assert sql("EXPLAIN TOPIC out_c")[0][0] == "a producer's record, or of transform kinds from in_1, in_2"
    [(made,)] = sql("SHOW CREATE kinds")
    assert "FROM BEGINNING" in made and "ON ERROR skip" in made


def test_where_it_begins(node, sql, functions):
    sql("CREATE TOPIC begin")
    produce(node, "begin", [(None, b"%d" % i, 1_700_000_000_000 + i) for i in range(10)])
    starts = {"now": "", "all": "FROM BEGINNING", "offset": "FROM OFFSET 7", "time": "FROM TIMESTAMP '2023-11-14 22:13:20.008Z'"}
    for name, start in starts.items():
        run(node, f"CREATE TOPIC begin_{name}", f"CREATE TRANSFORM from_{name} FROM begin INTO begin_{name} USING steps.keep {start}")
    produce(node, "begin", [b"10"])
    for name, first in ("now", 10), ("all", 0), ("offset", 7), ("time", 8):
        caught_up(sql, f"from_{name}")
        assert values(node, f"begin_{name}") == [b"%d" % i for i in range(first, 11)], name
    # One that is replaced goes on where it stood.
    sql("CREATE OR REPLACE TRANSFORM from_all FROM begin INTO begin_all USING steps.mark FROM BEGINNING")
    produce(node, "begin", [b"11"])
    caught_up(sql, "from_all")
    assert values(node, "begin_all")[10:] == [b"10", b"#1"]


def test_limits_and_look_back_are_declared_shown_and_kept(node, sql, functions):
    run(node, "CREATE TOPIC keys", "CREATE TOPIC once")
    produce(node, "keys", [(b"a", b"x"), (b"b", b"x")])
    sql("CREATE TRANSFORM rare FROM keys INTO once USING tour.unseen WITH (memory = 16777216, time_slice = '200 ms', look_back = 1), "
        "tour.lines WITH (expansion = 8) ON ERROR skip")
    # It begins with the record before the first that it takes.
    produce(node, "keys", [(b"a", b"y"), (b"b", b"y"), (b"c", b"y")])
    caught_up(sql, "rare")
    assert [m.key() for m in committed(node, "once")] == [b"a", b"c"]
    [(made,)] = sql("SHOW CREATE rare")
    assert sql(f"APPLY {made}") == [("unchanged", "transform", "rare")]
    assert [row[-1] for row in sql("SHOW TRANSFORMS") if row[9] == "rare"] == [
        "memory = 16777216, time_slice = '200 ms', look_back = 1", "expansion = 8"]
    assert "  2. transform tour.unseen WITH (memory = 16777216, time_slice = '200 ms', look_back = 1) ON ERROR skip (of test)" in \
        [line for line, in sql("EXPLAIN TOPIC keys")]
    for step, code, told in ("tour.unseen WITH (memory = '1 GiB')", "22023", "memory"), ("steps.keep WITH (look_back = 1)", "22023", "look-back"), \
            ("steps.keep WITH (colour = 'red')", "42601", "look_back or expansion"):
        with pytest.raises(psycopg.Error, match=told) as error:
            sql(f"CREATE TRANSFORM wrong FROM keys INTO once USING {step}")
        assert error.value.sqlstate == code, error.value


def test_only_what_is_committed_is_read(node, sql, functions):
    run(node, "CREATE TOPIC paid", "CREATE TOPIC seen", "CREATE TRANSFORM see FROM paid INTO seen USING steps.keep")
    producer = Producer({"bootstrap.servers": node.kafka, "transactional.id": "into-a-pipeline"})
    producer.init_transactions(30)
    for value, commits in (b"1", True), (b"2", False), (b"3", True):
        producer.begin_transaction()
        producer.produce("paid", value=value)
        producer.commit_transaction(30) if commits else producer.abort_transaction(30)
    caught_up(sql, "see")
    assert values(node, "seen") == [b"1", b"3"]


def test_what_fails_stops_it_or_is_set_aside(node, sql, functions):
    run(node, "CREATE TOPIC risky", "CREATE TOPIC strict", "CREATE TOPIC lenient",
        "CREATE TRANSFORM stops FROM risky INTO strict USING steps.strict",
        "CREATE TRANSFORM goes_on FROM risky INTO lenient USING steps.trap ON ERROR dead_letter")
    produce(node, "risky", [b"a"])
    caught_up(sql, "stops")
    produce(node, "risky", [b"x", b"bad", b"trap", b"y"])
    wait_until(lambda: status(sql, "stops")[0] == "failed")
    assert "offset 2 of partition 0" in status(sql, "stops")[2] and "bad record" in status(sql, "stops")[2]
    assert values(node, "strict") == [b"a"]
    caught_up(sql, "goes_on")
    assert values(node, "lenient") == [b"a", b"x", b"bad", b"y"]
    [letter] = committed(node, "risky.dead_letter")
    assert (letter.value(), dict(letter.headers())["offset"]) == (b"trap", b"3")
    sql("ALTER TRANSFORM stops RESUME")
    wait_until(lambda: status(sql, "stops")[0] == "failed")  # it tried, and met the same
    sql("CREATE OR REPLACE TRANSFORM stops FROM risky INTO strict USING steps.strict ON ERROR skip")
    caught_up(sql, "stops")
    assert values(node, "strict") == [b"a", b"x", b"trap", b"y"]
    sql("ALTER TRANSFORM stops PAUSE")
    produce(node, "risky", [b"z"])
    caught_up(sql, "goes_on")
    wait_until(lambda: status(sql, "stops")[:2] == ("paused", 1))
    sql("ALTER TRANSFORM stops RESUME")
    caught_up(sql, "stops")
    assert values(node, "strict")[-1] == b"z"


def test_what_cannot_be_is_told(node, sql, functions):
    def refused(statement, code, *words):
        with pytest.raises(psycopg.Error) as error:
            sql(statement)
        told = f"{error.value.diag.message_primary} {error.value.diag.message_hint}"
        assert error.value.sqlstate == code and all(word in told for word in words), (error.value.sqlstate, told)
    run(node, "CREATE TOPIC one", "CREATE TOPIC two", "CREATE TOPIC three", "CREATE TOPIC wide WITH (partitions = 3)",
        "CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TRANSFORM a_to_b FROM one INTO two USING steps.keep")
    refused("CREATE TRANSFORM back FROM two INTO one USING steps.keep", "22023", "come back")
    refused("CREATE TRANSFORM self FROM one INTO one USING steps.keep", "22023", "come back")
    run(node, "CREATE SINK carried AS SELECT value FROM two")
    refused("CREATE TRANSFORM round FROM carried INTO one USING steps.keep", "22023", "come back")
    refused("CREATE TRANSFORM into_sink FROM three INTO carried USING steps.keep", "0A000", "a sink writes it")
    refused("CREATE TRANSFORM of_table FROM t INTO two USING steps.keep", "0A000", "it is a table")
    refused("CREATE TRANSFORM gone FROM nothing INTO two USING steps.keep", "42P01", "nothing")
    refused("CREATE TRANSFORM f FROM one INTO three USING steps.none", "42883", "no export")
    refused("CREATE TRANSFORM f FROM one INTO three USING tour.mask", "0A000", "scalar")
    refused("CREATE TRANSFORM f FROM one INTO three USING tour.count, tour.count", "0A000", "one aggregate")
    refused("CREATE TRANSFORM f FROM wide INTO three USING tour.label, tour.count", "0A000", "another key")
    refused("CREATE TRANSFORM f FROM wide, one INTO three USING tour.count", "0A000", "partitions")
    refused("CREATE TRANSFORM f FROM one INTO three USING steps.keep FROM TIMESTAMP 'noon'", "22P02", "no time")
    refused("CREATE TRANSFORM a_to_b FROM one INTO two USING steps.keep", "42P07", "already exists")
    for topic in "one", "two":
        refused(f"DROP TOPIC {topic}", "2BP01", "a_to_b")
        refused(f"DROP TOPIC {topic} CASCADE", "2BP01", "a_to_b")
    refused("DROP FUNCTION steps", "2BP01", "a_to_b")
    run(node, "CREATE TRANSFORM counted FROM wide INTO three USING tour.count")
    refused("CREATE OR REPLACE TOPIC wide WITH (partitions = 4)", "2BP01", "counted")
    with connect(node, "mallory") as other:
        for statement in "DROP TRANSFORM a_to_b", "ALTER TRANSFORM a_to_b PAUSE":
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                other.execute(statement)
    sql("DROP TRANSFORM a_to_b")
    sql("DROP TRANSFORM IF EXISTS a_to_b")
    sql("DROP TOPIC one")
    assert not [row for row in sql("SHOW TRANSFORMS") if row[9] == "a_to_b"]


def sessions(records, gap):
    """What sessionise gives: those that the records themselves have closed, as (key, session)."""
    known, closed = {}, []
    for key, _, at in records:
        start, last, events = known.get(key, (at, at, 0))
        if at - last > gap:
            closed.append((key, {"start": start, "end": last, "events": events}))
            start, last, events = at, at, 0
        known[key] = (min(start, at), max(last, at), events + 1)
    return closed


class Clicks(threading.Thread):
    """Produces clicks of random keys, until it is told to stop; `records` are those that it has sent."""

    def __init__(self, node):
        super().__init__()
        self.producer = Producer({"bootstrap.servers": node.kafka, "enable.idempotence": True, "linger.ms": 1, "message.timeout.ms": 120_000})
        self.records, self.acked, self.stopping = [], 0, False
        self.start()

    def on_delivery(self, error, _):
        self.acked += error is None

    def run(self):
        dice, clocks = random.Random(7), collections.defaultdict(lambda: 1_700_000_000_000)
        while not self.stopping:
            key = b"k%d" % dice.randrange(60)
            clocks[key] += dice.choice([10, 1000, 90_000])
            self.records.append((key, b"click", clocks[key]))
            self.producer.produce("clicks", key=key, value=b"click", timestamp=clocks[key], on_delivery=self.on_delivery)
            self.producer.poll(0)
            time.sleep(0.001)
        assert self.producer.flush(120) == 0

    def await_more(self, count=100):
        before = self.acked
        wait_until(lambda: self.acked > before + count, what="acknowledgements")

    def stop(self):
        self.stopping = True
        self.join()


def test_aggregates_of_three_languages_are_exact_over_kill_and_restart(own_node, guests):
    """Under load, with modules that change, killed and stopped: what each language's sessionise gives equals a model, record by
    record. (That a crash between any two of its writes costs nothing is pipelines_test's.)"""
    node, gap, partitions = own_node, 60_000, 2
    run(node, f"CREATE TOPIC clicks WITH (partitions = {partitions})")
    for language in LANGUAGES:
        run(node, f"CREATE FUNCTION {language} LANGUAGE wasm FROM '{GUESTS / language / 'sessionise.wasm'}'",
            f"CREATE TOPIC of_{language} WITH (partitions = 3)",
            f"CREATE TRANSFORM sessions_{language} FROM clicks INTO of_{language} USING {language}.sessionise(gap => '1m') FROM BEGINNING")
    clicks = Clicks(node)
    clicks.await_more()
    for i, way in enumerate((node.kill, node.stop, node.kill)):
        for language in LANGUAGES:  # the same, but for an empty section of that name: another module to the node
            module = (GUESTS / language / "sessionise.wasm").read_bytes() + bytes([0, 2, 1, ord("a") + i])
            run(node, f"CREATE OR REPLACE FUNCTION {language} LANGUAGE wasm FROM 'data:application/wasm;base64,{base64.b64encode(module).decode()}'")
        clicks.await_more()
        way()
        node.start()
        clicks.await_more()
    clicks.stop()
    with connect(node) as connection:
        def at_end():
            rows = connection.execute("SELECT state, lag FROM millrace.transforms WHERE name LIKE 'sessions%'").fetchall()
            return rows == [("running", 0)] * 3
        wait_until(at_end, what="the transforms to catch up")
    want = collections.Counter((key, json.dumps(session, sort_keys=True)) for key, session in sessions(clicks.records, gap))
    assert len(want) > 100
    for language in LANGUAGES:
        got = committed(node, f"of_{language}", 3)
        assert collections.Counter((m.key(), json.dumps(json.loads(m.value()), sort_keys=True)) for m in got) == want, language
        of_one = [json.loads(m.value())["start"] for m in got if m.key() == b"k7"]
        assert of_one == sorted(of_one)  # in order, by key


def test_a_module_is_replaced_under_load(own_node):
    """Two modules take turns while a producer writes and the node is killed: each record comes out once, of one module or the other."""
    node = own_node
    text = STEPS.read_text()
    modules = [base64.b64encode(text.replace("(i32.const 35)", f"(i32.const {mark})").encode()).decode() for mark in (35, 42)]

    def use(which):
        run(node, f"CREATE OR REPLACE FUNCTION steps LANGUAGE wasm FROM 'data:application/wasm;base64,{modules[which]}'")
    use(0)
    run(node, "CREATE TOPIC a", "CREATE TOPIC b", "CREATE TRANSFORM x FROM a INTO b USING steps.mark, steps.keep")
    stop, sent = threading.Event(), 0

    def load():
        nonlocal sent
        producer = Producer({"bootstrap.servers": node.kafka, "enable.idempotence": True, "linger.ms": 1})
        while not stop.is_set():
            producer.produce("a", value=b"x %d" % sent)
            sent += 1
            producer.poll(0)
            time.sleep(0.001)
        assert producer.flush(60) == 0
    thread = threading.Thread(target=load)
    thread.start()

    def come_out():
        with connect(node) as connection:
            return connection.execute("SELECT max(records_out) FROM millrace.transforms WHERE name = 'x'").fetchone()[0]

    def await_more():
        before = come_out()
        wait_until(lambda: come_out() > before + 50, what="records to come out")
    for which in 1, 0, 1:
        await_more()
        use(which)
    await_more()
    node.kill()
    node.start()
    await_more()
    stop.set()
    thread.join()
    with connect(node) as connection:
        wait_until(lambda: connection.execute("SELECT DISTINCT state, lag FROM millrace.transforms WHERE name = 'x'").fetchall() == [("running", 0)],
                   what="all records")
    out = values(node, "b")
    assert [value[1:] for value in out] == [b" %d" % i for i in range(sent)]
    changes = [out[0][:1]] + [b[:1] for a, b in zip(out, out[1:]) if a[:1] != b[:1]]
    assert changes == [b"#", b"*", b"#", b"*"]
