"""Views that come back from snapshots of their state: after a clean stop, kill -9, and a damaged file."""
import json
import random
import time

import confluent_kafka
import psycopg

from node import wait_until

VIEWS = {
    "by_customer": "SELECT customer, count(*) AS n, sum(amount) AS amount, max(note) AS note FROM orders GROUP BY customer",
    "by_country": "SELECT country, count(*) AS n, avg(amount) AS mean, count(DISTINCT customer) AS customers "
                  "FROM orders LEFT JOIN customers USING (customer) GROUP BY country",
    "large": "SELECT o.id, o.amount, c.country FROM orders o JOIN customers c ON o.customer = c.customer WHERE o.amount > 900",
    "sizes": "SELECT n // 10 AS size, count(*) AS customers FROM by_customer GROUP BY 1",
}
ROWS = 100_000


def connect(node):
    host, port = node.pg.split(":")
    return psycopg.connect(host=host, port=port, user="test", dbname="millrace", autocommit=True)


def order(number):
    return {"id": number, "customer": f"c{number * 7919 % 5000}", "amount": number * 31 % 1000, "note": "n" * (number % 40)}


def produce(node, numbers):
    producer = confluent_kafka.Producer({"bootstrap.servers": node.kafka, "enable.idempotence": True, "linger.ms": 5,
                                         "queue.buffering.max.messages": 1_000_000})
    for number in numbers:
        producer.produce("orders", json.dumps(order(number)), partition=number % 2)
    assert producer.flush(60) == 0


def assert_views_equal_their_queries(node):
    """What the views show is what DuckDB answers to the same queries over the topic itself."""
    with connect(node) as sql:
        for view, query in VIEWS.items():
            expected = sorted(sql.execute(query).fetchall(), key=repr)
            wait_until(lambda: sorted(sql.execute(f"SELECT * FROM {view}").fetchall(), key=repr) == expected, 60, view)


def snapshots(node):
    return sorted(node.data.glob("views/*/*.snapshot"))


def restart(node):
    """Seconds from the start of the process to answers of all views; what the node logged by then."""
    began = time.monotonic()
    seen = len(node.log())
    node.start()
    with connect(node) as sql:
        for view in VIEWS:
            sql.execute(f"SELECT count(*) FROM {view}").fetchall()
    return time.monotonic() - began, node.log()[seen:]


def test_views_come_back_from_snapshots(own_node):
    node = own_node
    with connect(node) as sql:
        sql.execute("CREATE TOPIC orders (id BIGINT, customer VARCHAR, amount INTEGER, note VARCHAR) WITH (partitions = 2)")
        sql.execute("CREATE TABLE customers (customer VARCHAR PRIMARY KEY, country VARCHAR)")
        sql.execute("INSERT INTO customers SELECT 'c' || i, 'land ' || i % 23 FROM range(4000) t(i)")
        for view, query in VIEWS.items():
            sql.execute(f"CREATE MATERIALIZED VIEW {view} AS {query}")
    produce(node, range(ROWS))
    assert_views_equal_their_queries(node)
    node.kill()
    without, log = restart(node)
    assert "comes from a snapshot" not in log
    assert_views_equal_their_queries(node)

    node.stop()
    assert len({path.parent for path in snapshots(node)}) == len(VIEWS)
    after_stop, log = restart(node)
    assert log.count("comes from a snapshot") == len(VIEWS), log
    assert_views_equal_their_queries(node)
    print(f"restart: {without:.2f} s without snapshots, {after_stop:.2f} s with")

    # What comes after the snapshot is computed again, however the node ends.
    produce(node, range(ROWS, ROWS + 20_000))
    with connect(node) as sql:
        sql.execute("UPDATE customers SET country = 'moved' WHERE customer < 'c2'")
        sql.execute("DELETE FROM customers WHERE customer > 'c39'")
    if random.random() < 0.5:
        assert_views_equal_their_queries(node)
    node.kill()
    _, log = restart(node)
    assert log.count("comes from a snapshot") == len(VIEWS), log
    assert_views_equal_their_queries(node)

    # A damaged one is told of, and done without.
    node.kill()
    for path in snapshots(node):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    _, log = restart(node)
    assert log.count("is damaged") >= len(VIEWS) and "comes from a snapshot" not in log, log
    assert_views_equal_their_queries(node)
