"""Views whose state is several times what --memory gives them: it goes to disk, and the answers stay DuckDB's."""
import re
import urllib.request

import confluent_kafka
import psycopg
import pytest

from node import Node, wait_until

ROWS = 450_000
VIEWS = {
    "joined": "SELECT count(*) AS n, sum(b.v - a.v) AS gap FROM events a JOIN events b ON a.id = b.id",
    "counted": "SELECT sum(n) AS n, count(*) AS ids, max(most) AS most FROM (SELECT id, count(*) AS n, max(v) AS most FROM events GROUP BY id)",
    "distinct_values": "SELECT id % 3 AS part, count(DISTINCT v) AS values FROM events GROUP BY 1",
}


@pytest.fixture
def small_node(tmp_path):
    node = Node(tmp_path / "data", "--memory", "160MiB")
    yield node
    node.stop()


def connect(node):
    host, port = node.pg.split(":")
    return psycopg.connect(host=host, port=port, user="test", dbname="millrace", autocommit=True)


def produce(node, numbers):
    producer = confluent_kafka.Producer({"bootstrap.servers": node.kafka, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    for number in numbers:
        producer.produce("events", b'{"id":%d,"v":%d}' % (number * 7919 % ROWS, number), partition=number % 2)
        if number % 10_000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0


def metrics(node, name):
    text = urllib.request.urlopen(f"http://{node.http}/metrics").read().decode()
    return {view: float(value) for view, value in re.findall(rf'^{name}{{view="(\w+)"}} (\S+)$', text, re.M)}


def assert_equal(node):
    with connect(node) as sql:
        for view, query in VIEWS.items():
            expected = sorted(sql.execute(query).fetchall())
            wait_until(lambda: sorted(sql.execute(f"SELECT * FROM {view}").fetchall()) == expected, 60, view)


def test_state_that_is_too_much_goes_to_disk(small_node):
    node = small_node
    with connect(node) as sql:
        sql.execute("CREATE TOPIC events (id BIGINT, v BIGINT) WITH (partitions = 2)")
        for view, query in VIEWS.items():
            sql.execute(f"CREATE MATERIALIZED VIEW {view} AS {query}")
    produce(node, range(ROWS))
    wait_until(lambda: min(metrics(node, "millrace_flow_rows_in_total").values()) >= ROWS, 120, "all rows")
    memory = {name: kb / 1024 for name, kb in node.memory_kb().items()}
    state = sum(metrics(node, "millrace_flow_state_bytes").values()) / 2**20
    spilled = sum(metrics(node, "millrace_flow_spilled_bytes").values()) / 2**20
    print(f"state {state:.0f} MiB, {spilled:.0f} of it on disk; {memory}")
    # The rest of what is resident are pages of the file, which the system takes back when it needs them.
    assert memory["RssAnon"] < 160 < state / 1.4
    assert spilled > 100
    assert max(metrics(node, "millrace_flow_full").values()) == 0
    produce(node, range(ROWS, ROWS + 20_000))
    assert_equal(node)

    # From a snapshot too, whose state is again too much.
    node.stop()
    seen = len(node.log())
    node.start()
    assert_equal(node)
    assert node.log()[seen:].count("comes from a snapshot") == len(VIEWS)
