"""Bytes and statements that are wrong: told, counted, kept aside; the node goes on."""
import json
import os
import socket
import struct
import time
import urllib.request

import confluent_kafka
import psycopg
import pytest

from node import wait_until


def produce(node, topic, values, **settings):
    errors = []
    producer = confluent_kafka.Producer({"bootstrap.servers": node.kafka, **settings})
    for value in values:
        producer.produce(topic, value=value, key=b"k", on_delivery=lambda e, m: errors.append(e) if e else None)
    assert producer.flush(30) == 0
    return errors


def consume_all(node, topic):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": node.kafka, "group.id": "none", "enable.auto.commit": False,
                                         "enable.partition.eof": True})
    consumer.assign([confluent_kafka.TopicPartition(topic, 0, confluent_kafka.OFFSET_BEGINNING)])
    out = []
    while True:
        message = consumer.poll(10)
        assert message is not None
        if message.error():
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF, message.error()
            break
        out.append(message)
    consumer.close()
    return out


BAD = [b"", b"not json", b'{"id": "text"}', b'{"id": 1e400}', b'{"id": 1, "placed": "yesterday"}', b'[1]', b'{"name": "no id"}', b'{"id": 1',
       b'{"id": 99999999999999999999}', b"\xff\xfe", b'{"id": null}', None]


def test_records_that_do_not_fit_go_to_the_dead_letters_and_the_view_goes_on(node, sql):
    sql("CREATE TOPIC events (id BIGINT NOT NULL, name VARCHAR, placed TIMESTAMP)")
    sql("CREATE MATERIALIZED VIEW seen AS SELECT count(*) AS n, sum(id) AS total FROM events")
    good = [json.dumps({"id": i, "name": "x"}).encode() for i in range(100)]
    mixed = [v for i, g in enumerate(good) for v in ([g, BAD[i % len(BAD)]] if i < len(BAD) else [g])]
    assert not produce(node, "events", mixed)
    wait_until(lambda: sql("SELECT n, total FROM seen") == [(100, 4950)])
    wait_until(lambda: len(consume_all(node, "events.dead_letter")) == len(BAD) if
               any(row[0] == "events.dead_letter" for row in sql("SHOW TOPICS")) else False)
    letters = consume_all(node, "events.dead_letter")
    assert sorted(repr(m.value()) for m in letters) == sorted(map(repr, BAD))
    for letter in letters:
        headers = dict(letter.headers())
        assert headers["topic"] == b"events" and headers["partition"] == b"0"
        assert mixed[int(headers["offset"])] == letter.value()
        assert headers["reason"]
        assert letter.key() == b"k"
    assert sql("SELECT count(*) FROM events") == [(100,)]
    metrics = urllib.request.urlopen(f"http://{node.http}/metrics").read().decode()
    assert any("bad_records_total" in line and 'topic="events"' in line and float(line.split()[-1]) == len(BAD)
               for line in metrics.splitlines())


def test_a_record_without_a_value_is_a_row_of_nulls(node, sql):
    sql("CREATE TOPIC gone (id BIGINT, name VARCHAR)")
    sql("CREATE TOPIC bytes")
    counts = "SELECT count(*) AS n, count({0}) AS given, max(_offset) AS last FROM {1}"
    for topic, column in ("gone", "id"), ("bytes", "value"):
        sql(f"CREATE MATERIALIZED VIEW of_{topic} AS {counts.format(column, topic)}")
        assert not produce(node, topic, [b'{"id": 1}', None, b'{"id": 2}', None])
        assert sql(counts.format(column, topic)) == [(4, 2, 3)]
        wait_until(lambda topic=topic: sql(f"SELECT * FROM of_{topic}") == [(4, 2, 3)])


def test_a_topic_may_reject_at_produce(node, sql):
    sql("CREATE TOPIC strict (id BIGINT NOT NULL) WITH (on_error = 'reject')")
    errors = produce(node, "strict", [b'{"id": 1}'])
    assert not errors
    for refused in b'{"id": "no"}', None:
        errors = produce(node, "strict", [refused])
        assert errors and errors[0].code() == confluent_kafka.KafkaError.INVALID_RECORD
    assert sql("SELECT id FROM strict") == [(1,)]


@pytest.mark.parametrize("statement, state, in_text", [
    ("SELEC 1", "42601", "SELEC"),
    ("SELECT * FROM nowhere", "42P01", "nowhere"),
    ("SELECT nothing FROM strict2", "42703", "nothing"),
    ("SELECT no_function(1)", "42883", "no_function"),
    ("INSERT INTO strict2 VALUES ('x')", None, "x"),
    ("CREATE TOPIC strict2 (id BIGINT)", "42P07", "strict2"),
    ("CREATE TOPIC t9 (id NOTATYPE)", None, "NOTATYPE"),
    ("CREATE TOPIC t9 (id BIGINT) WITH (no_option = 1)", None, "no_option"),
    ("CREATE TOPIC t9 (id BIGINT) WITH (partitions = 0)", None, "partition"),
    ("CREATE TABLE t9 (id BIGINT)", None, "PRIMARY KEY"),
    ("CREATE MATERIALIZED VIEW v9 AS SELECT random() AS r FROM strict2", "0A000", "random"),
    ("CREATE MATERIALIZED VIEW v9 AS SELECT id FROM strict2 WHERE now() > TIMESTAMPTZ '2020-01-01'", "0A000", "now"),
    ("CREATE MATERIALIZED VIEW v9 AS WITH RECURSIVE n AS (SELECT id FROM strict2 UNION SELECT id + 1 FROM n WHERE id < 9) SELECT * FROM n", "0A000",
     "recursive"),
    ("COPY keyed FROM '/no/such/file.csv'", None, "/no/such/file.csv"),
    ("DROP TABLE nowhere", "42P01", "nowhere"),
    ("SELECT 1/0::INTEGER + 'x'::INTEGER", "22P02", "x"),
])
def test_wrong_statements_get_an_sqlstate_and_say_what_is_wrong(node, sql, statement, state, in_text):
    try:
        sql("CREATE TOPIC strict2 (id BIGINT)")
        sql("CREATE TABLE keyed (id BIGINT PRIMARY KEY)")
    except psycopg.Error:
        pass  # the first case made them
    with pytest.raises(psycopg.Error) as failure:
        sql(statement)
    assert in_text.lower() in str(failure.value).lower()
    assert failure.value.sqlstate not in (None, "XX000")
    if state:
        assert failure.value.sqlstate == state
    assert sql("SELECT 1") == [(1,)]


def closes(address, data):
    """Sends bytes; true when the node closes the connection."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), 10) as s:
        s.settimeout(20)
        s.sendall(data)
        try:
            while s.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True


@pytest.mark.parametrize("data", [
    struct.pack(">i", -5), struct.pack(">i", 2**31 - 1), struct.pack(">i", 4) + b"\x00\x00\x00\x00",
    struct.pack(">ihhi", 10, 3, 12, 1) + b"\xff\xff", struct.pack(">ihhih", 14, 0, 9, 1, -1) + b"\xff" * 4,
    b"GET / HTTP/1.1\r\n\r\n"])
def test_a_malformed_kafka_frame_closes_that_connection_alone(node, data):
    assert closes(node.kafka, data)
    assert confluent_kafka.Consumer({"bootstrap.servers": node.kafka, "group.id": "x"}).list_topics(timeout=10).topics is not None
    wait_until(lambda: "peer" in node.log())


@pytest.mark.parametrize("data", [
    struct.pack(">i", 3), struct.pack(">ii", 2**31 - 1, 196608), struct.pack(">ii", 8, 12345),
    struct.pack(">ii", 18, 196608) + b"user\0test\0\0\0" + b"Z" + struct.pack(">i", 2)])
def test_a_malformed_postgresql_frame_closes_that_connection_alone(node, sql, data):
    assert closes(node.pg, data)
    assert sql("SELECT 1") == [(1,)]


def test_random_bytes_end_no_node(node, sql):
    seed = int(os.environ.get("MR_SEED", time.time()))
    print("MR_SEED", seed)
    import random
    dice = random.Random(seed)
    for _ in range(200):
        for address in (node.kafka, node.pg, node.http):
            host, port = address.split(":")
            with socket.create_connection((host, int(port)), 10) as s:
                body = dice.randbytes(dice.randrange(1, 400))
                s.sendall(dice.choice([b"", struct.pack(">i", len(body))]) + body)
    assert sql("SELECT 1") == [(1,)]


def test_a_full_disk_fails_the_append_and_nothing_is_acknowledged(tmp_path):
    """The data folder on a file system of 24 MiB (tmpfs in a mount namespace is not at hand: a file size limit stands for it)."""
    import resource
    import subprocess

    from node import BINARY, Node

    class Limited(Node):
        def start(self):
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, before[1]))
            try:
                super().start()
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)

    limited = Limited(tmp_path / "data")
    try:
        limited.cli("topic", "create", "big")
        acked, failed = [], []
        producer = confluent_kafka.Producer({"bootstrap.servers": limited.kafka, "message.timeout.ms": 8000, "batch.size": 100_000})
        for i in range(200):
            producer.produce("big", value=os.urandom(100_000), on_delivery=lambda e, m: (failed if e else acked).append(m))
            producer.poll(0)
        producer.flush(60)
        assert acked and failed
        stored = sum(p["high_watermark"] for p in json.loads(limited.cli("topic", "describe", "big", "-o", "json").stdout)["partitions"])
        assert stored == len(acked)
        limited.kill()
        limited.start()
        stored = sum(p["high_watermark"] for p in json.loads(limited.cli("topic", "describe", "big", "-o", "json").stdout)["partitions"])
        assert stored >= len(acked)
    finally:
        limited.stop()
