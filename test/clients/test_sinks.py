"""Sinks: an output topic that a Kafka consumer of committed records sees exactly once, through kill -9."""
import collections
import json
import random
import threading
import time

import confluent_kafka
import psycopg
import pytest

from node import wait_until


def connect(node):
    host, port = node.pg.split(":")
    return psycopg.connect(host=host, port=port, user="test", dbname="millrace", autocommit=True)


def committed(node, topic):
    """Every record that a consumer of committed records sees."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": node.kafka, "group.id": "none", "enable.auto.commit": False,
                                         "isolation.level": "read_committed", "enable.partition.eof": True})
    consumer.assign([confluent_kafka.TopicPartition(topic, 0, confluent_kafka.OFFSET_BEGINNING)])
    out = []
    while True:
        message = consumer.poll(30)
        assert message is not None
        if message.error():
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF, message.error()
            break
        out.append(message)
    consumer.close()
    return out


def produce(node, topic, values, timeout=60):
    """Each value once, through restarts of the node."""
    producer = confluent_kafka.Producer({"bootstrap.servers": node.kafka, "enable.idempotence": True, "linger.ms": 2,
                                         "message.timeout.ms": 0, "reconnect.backoff.max.ms": 100})
    for value in values:
        while True:
            try:
                producer.produce(topic, json.dumps(value))
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        if random.random() < 0.002:
            time.sleep(0.01)
    assert producer.flush(timeout) == 0


def test_each_result_once_through_kill(own_node):
    seed = random.randrange(2**32)
    print("seed", seed)
    rand = random.Random(seed)
    node = own_node
    with connect(node) as sql:
        sql.execute("CREATE TOPIC orders (id BIGINT, customer VARCHAR, amount INTEGER, placed TIMESTAMP,"
                    " WATERMARK FOR placed AS placed - INTERVAL '1 second') WITH (partitions = 2)")
        sql.execute("CREATE TABLE customers (customer VARCHAR PRIMARY KEY, country VARCHAR)")
        sql.execute("INSERT INTO customers SELECT 'c' || i, 'k' || (i % 3) FROM range(10) t(i)")
        sql.execute("CREATE SINK large AS SELECT id, amount * 2 AS twice FROM orders WHERE amount >= 50")
        sql.execute("CREATE SINK per_country WITH (format = 'upsert', key = 'country, minute') AS SELECT country, window_start AS minute,"
                    " count(*) AS orders, sum(amount) AS amount FROM TUMBLE(orders, placed, INTERVAL '1 minute') o"
                    " JOIN customers USING (customer) GROUP BY country, window_start")
        sql.execute("CREATE SINK changes WITH (format = 'debezium', key = 'customer') AS"
                    " SELECT customer, count(*) AS n FROM orders GROUP BY customer")
    orders = [{"id": i, "customer": f"c{i % 10}", "amount": i % 100, "placed": f"2026-01-01T10:{i * 30 // 20000:02}:00"}
              for i in range(20000)]
    producing = threading.Thread(target=produce, args=(node, "orders", orders))
    producing.start()
    for _ in range(5):
        time.sleep(rand.uniform(0.05, 0.6))
        node.kill()
        node.start()
    producing.join()
    expected = [{"id": o["id"], "twice": o["amount"] * 2} for o in orders if o["amount"] >= 50]
    wait_until(lambda: len(committed(node, "large")) >= len(expected), what="all results in the topic")
    got = sorted((json.loads(m.value()) for m in committed(node, "large")), key=lambda r: r["id"])
    assert got == expected

    totals = collections.defaultdict(lambda: [0, 0])
    for o in orders:
        total = totals[f"k{int(o['customer'][1:]) % 3}", o["placed"]]
        total[0] += 1
        total[1] += o["amount"]

    def answer():
        last = {}
        for m in committed(node, "per_country"):
            key = json.loads(m.key())
            last[key["country"], key["minute"]] = json.loads(m.value())
        return {k: [v["orders"], v["amount"]] for k, v in last.items()}

    wait_until(lambda: answer() == dict(totals), what="the answer in the upsert topic")
    # Every count of a customer follows from the one before: none is lost, none is there twice.
    wait_until(lambda: sum(json.loads(m.value())["op"] == "c" for m in committed(node, "changes")) == 10)
    state = {}
    for m in committed(node, "changes"):
        change = json.loads(m.value())
        assert change["before"] == state.get(m.key()), change
        state[m.key()] = change["after"]
    wait_until(lambda: json.loads(committed(node, "changes")[-1].value())["after"]["n"] == 2000)


def test_a_sink_as_sql_shows_it(node, sql):
    sql("CREATE TOPIC numbers (n INTEGER)")
    sql("CREATE SINK doubled WITH (\"retention.ms\" = 1000000) AS SELECT n * 2 AS n FROM numbers")
    sql("INSERT INTO numbers VALUES (1), (2)")
    wait_until(lambda: sql("SELECT n FROM doubled ORDER BY n") == [(2,), (4,)])
    assert [json.loads(m.value()) for m in committed(node, "doubled")] == [{"n": 2}, {"n": 4}]
    assert sql("SHOW SINKS") == [("doubled", "plain", "", "SELECT n * 2 AS n FROM numbers", "", "doubled")]
    assert ("doubled", "sink", "n INTEGER") in sql("SHOW ALL")
    assert any("stream numbers" in line for (line,) in sql("EXPLAIN doubled"))
    with pytest.raises(psycopg.Error, match="a sink writes it"):
        sql("DROP TOPIC doubled")
    with pytest.raises(psycopg.Error, match="takes rows back: aggregate"):
        sql("CREATE SINK bad AS SELECT n, count(*) AS c FROM numbers GROUP BY n")
    sql("DROP SINK doubled")
    assert sql("SHOW SINKS") == []
    assert "doubled" not in [name for name, *_ in sql("SHOW ALL")]


def test_rows_that_fail_in_a_query_are_set_aside_once_through_kill(own_node):
    node = own_node
    with connect(node) as sql:
        sql.execute("CREATE TOPIC readings (id INTEGER, text VARCHAR)")
        sql.execute("CREATE MATERIALIZED VIEW numbers AS SELECT id % 10 AS digit, sum(text::INTEGER) AS total FROM readings GROUP BY digit")
        sql.execute("CREATE MATERIALIZED VIEW strict WITH (on_error = 'stop') AS SELECT id, text::INTEGER AS n FROM readings")
    readings = [{"id": i, "text": "broken" if i % 50 == 7 else str(i)} for i in range(10000)]
    producing = threading.Thread(target=produce, args=(node, "readings", readings))
    producing.start()
    for _ in range(3):
        time.sleep(random.uniform(0.05, 0.5))
        node.kill()
        node.start()
    producing.join()
    expected = {d: sum(i for i in range(d, 10000, 10) if i % 50 != 7) for d in range(10)}
    with connect(node) as sql:
        wait_until(lambda: dict(sql.execute("SELECT * FROM numbers").fetchall()) == expected)
        wait_until(lambda: sql.execute("SELECT state FROM millrace.views WHERE name = 'strict'").fetchone() == ("failed",))
        with pytest.raises(psycopg.Error, match="Could not convert string 'broken'"):
            sql.execute("SELECT * FROM strict")
    wait_until(lambda: len(committed(node, "numbers.dead_letter")) >= 200)
    letters = committed(node, "numbers.dead_letter")
    assert sorted(json.loads(m.value())["id"] for m in letters) == list(range(7, 10000, 50))
    assert all(b"Could not convert string 'broken'" in dict(m.headers())["reason"] for m in letters)
    assert all(dict(m.headers())["view"] == b"numbers" for m in letters)
    assert "numbers.dead_letter" in node.cli("topic", "list").stdout
    assert "broken" in node.cli("dead-letter", "list", "numbers").stdout
