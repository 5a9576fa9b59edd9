"""The client SDK (sdk/cpp/client) through its example, an application between two topics: what it sends, or sees, is what a node's
transforms make of the same records."""
import contextlib
import pathlib
import subprocess
import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from draining import drain
from functions_http import put
from node import ROOT, wait_until

COPY = ROOT / "build" / "release" / "sdk" / "cpp" / "client" / "millrace_copy"
# keep drops values with 'd', mark makes '#' of the first byte, trap traps at 't'.
NOW = int(time.time() * 1000)  # old records would be deleted
STEPS = pathlib.Path(__file__).with_name("steps.wat").read_bytes()


def produce(node, topic, records):
    """(key, value, headers, timestamp) of each."""
    producer = Producer({"bootstrap.servers": node.kafka, "linger.ms": 5})
    for key, value, headers, timestamp in records:
        producer.produce(topic, key=key, value=value, headers=headers, timestamp=timestamp, partition=0)
    assert producer.flush(30) == 0


def read(node, topic):
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": "none", "enable.partition.eof": True, "fetch.wait.max.ms": 10})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    return [(m.key(), m.value(), m.headers(), m.timestamp()[1]) for m in drain(consumer)]


@pytest.fixture
def values(sql):
    """Those that are there and no null, in order, by SQL: quick to ask for again and again."""
    return lambda topic: [value for value, in sql(f"SELECT value FROM {topic} ORDER BY _offset")]


def plain(*texts):
    return [(None, text, None, NOW + i) for i, text in enumerate(texts)]


def copy(node, *words, http=None):
    return subprocess.Popen([COPY, node.kafka, http or node.http, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def copying(node, *words):
    """It ends well when it is told to."""
    process = copy(node, *words)
    try:
        yield process
        assert process.poll() is None, process.communicate()[1]
        process.terminate()
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0 and "records in" in out, errors
    finally:
        process.kill()
        process.communicate()


def refusal(node, *words, **more):
    process = copy(node, *words, **more)
    try:
        errors = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 1, errors
    return errors


def letters(node, topic):
    """(key, value, reason, the record's own headers) of each."""
    out = set()
    for key, value, headers, _ in read(node, f"{topic}.dead_letter"):
        assert [name for name, _ in headers[:5]] == ["reason", "topic", "partition", "offset", "timestamp"]
        out.add((key, value, headers[0][1], tuple(headers[5:])))
    return out


@pytest.mark.parametrize("side", ["sending", "receiving"])
def test_a_client_gives_what_a_node_gives(node, sql, values, side):
    subprocess.run([ROOT / "tools" / "guests.sh", "cpp"], check=True, capture_output=True)
    put(node, "redact", (ROOT / "build" / "guests" / "cpp" / "redact.wasm").read_bytes())
    put(node, "steps", STEPS)
    given, by_node, by_client = f"given_{side}", f"node_{side}", f"client_{side}"
    place = {"sending": "ON PRODUCE", "receiving": "ON FETCH"}[side]
    for topic in given, by_node, by_client:
        sql(f"CREATE TOPIC {topic}")
    sql(f"ALTER TOPIC {by_node} ADD TRANSFORM steps.keep {place}")
    sql(f"ALTER TOPIC {by_node} ADD TRANSFORM redact(fields => 'email,ssn') {place} ON ERROR dead_letter")
    records = [(None if i % 3 else b"k%d" % i, [b'{"id":%d,"email":"a@x.org","deep":[{"ssn":%d}]}' % (i, i), b"dropped", b'{"plain":%d}' % i][i % 3],
                [("h", b"1"), ("h", None), ("e", b"")] if i % 2 else None, NOW + i) for i in range(900)]
    records[300:300] = [(b"", b"no document", [("mine", b"x")], NOW - 5), (b"null", None, None, NOW), (b"empty", b"", None, NOW)]
    for topic in given, by_node:
        produce(node, topic, records)
    expected = read(node, by_node)
    assert 600 <= len(expected) < 610 and b'"***"' in expected[0][1]
    with copying(node, given, by_client, side, "steps.keep", "redact", "fields=email,ssn", "dead_letter"):
        wait_until(lambda: values(by_client) == [value for _, value, _, _ in expected], what="the copy")
    assert read(node, by_client) == expected
    assert letters(node, {"sending": by_client, "receiving": given}[side]) == letters(node, by_node)
    assert (b"", b"no document") in [letter[:2] for letter in letters(node, by_node)]


def test_a_client_follows_the_node_unless_it_is_told_which_module(node, sql, values):
    hash_before = put(node, "stamp", STEPS)["hash"]
    for topic in "drafts", "follows", "pinned":
        sql(f"CREATE TOPIC {topic}")
    with copying(node, "drafts", "follows", "sending", "stamp.mark"), \
            copying(node, "drafts", "pinned", "receiving", "stamp.mark", f"sha256:{hash_before}"):
        produce(node, "drafts", plain(b"a1"))
        wait_until(lambda: values("follows") == values("pinned") == [b"#1"], what="the first")
        put(node, "stamp", STEPS.replace(b"(i32.const 35)", b"(i32.const 42)"))

        def other():
            produce(node, "drafts", plain(b"a2"))
            return b"*2" in values("follows")
        wait_until(other, what="the module that came after")
        wait_until(lambda: len(values("pinned")) == len(values("drafts")), what="all of them")
    assert set(values("pinned")) == {b"#1", b"#2"}


def test_what_fails_is_refused_set_aside_or_left_out(node, sql, values):
    put(node, "traps", STEPS)
    for way in "reject", "dead_letter", "skip":
        sql(f"CREATE TOPIC fails_{way}")
        sql(f"CREATE TOPIC left_{way}")
        produce(node, f"fails_{way}", plain(b"t1"))  # a batch of its own
    for side in "sending", "receiving":
        assert "trap" in refusal(node, "fails_reject", "left_reject", side, "traps.trap", "reject")
    assert values("left_reject") == []
    # It was not committed: skipped now, it is gone.
    for source, way in ("reject", "skip"), ("dead_letter", "dead_letter"), ("skip", "skip"):
        with copying(node, f"fails_{source}", f"left_{source}", "sending", "traps.trap", way) as process:
            assert values(f"left_{source}") == []

            def goes_on(source=source):
                produce(node, f"fails_{source}", plain(b"a2"))
                return b"a2" in values(f"left_{source}")
            wait_until(goes_on, what="what came after")
            assert b"t1" not in values(f"left_{source}")
            assert process.poll() is None
    assert {b"t1"} <= {value for _, value, _, _ in letters(node, "left_dead_letter")}
    assert "trap" in str(letters(node, "left_dead_letter"))


def test_what_cannot_run_is_told(node, sql):
    put(node, "told", STEPS)
    for topic in "ask", "answer":
        sql(f"CREATE TOPIC {topic}")
    for side in "sending", "receiving":
        assert "no node answers at 127.0.0.1:1" in refusal(node, "ask", "answer", side, "told.keep", http="127.0.0.1:1")
    assert "there is no function" in refusal(node, "ask", "answer", "sending", "nothing.keep")
    assert "there is no module" in refusal(node, "ask", "answer", "sending", "told.keep", "sha256:" + "0" * 64)
    assert "keep, mark, spin, strict" in refusal(node, "ask", "answer", "sending", "told.none")
    assert "keep" in refusal(node, "ask", "answer", "sending", "told.keep", "colour=red")
