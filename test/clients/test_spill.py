"""Views whose state is several times what --memory gives them: it goes to disk, the node stays within its memory, and the answers
stay DuckDB's. `make test-long` does it with 1 GB of state in 256 MiB."""
import os
import re
import urllib.request

import confluent_kafka
import duckdb
import psycopg
import pytest

from node import HardLimit, Node, wait_until

ROWS = int(os.environ.get("MR_STATE_ROWS", 300_000))
MIB = 96 if ROWS < 1_000_000 else 256  # --memory
VIEWS = {
    "grouped": "SELECT id, count(*) AS n, sum(v) AS v, max(v) AS most FROM events GROUP BY id",
    "joined": "SELECT count(*) AS n, sum(b.v - a.v) AS gap FROM events a JOIN events b ON a.id = b.id",
    "counted": "SELECT sum(n) AS n, count(*) AS ids, max(most) AS most FROM (SELECT id, count(*) AS n, max(v) AS most FROM events GROUP BY id)",
    "distinct_values": "SELECT id % 3 AS part, count(DISTINCT v) AS values FROM events GROUP BY 1",
}


@pytest.fixture
def small_node(tmp_path):
    # A quarter more than --memory: pages of the program, and of the files that it writes, are counted too.
    limit = HardLimit("spill", MIB * 5 // 4)
    node = Node(tmp_path / "data", "--memory", f"{MIB}MiB", under=limit.under())
    yield node
    node.stop()
    limit.remove()


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


def summed_up(grouped):
    return f"SELECT count(*), sum(n), sum(v), max(most), sum(hash(id, n, v, most)::HUGEINT) FROM {grouped}"


def assert_equal(node, rows):
    """DuckDB's answers, to `rows` numbers from 0 on: computed here, the node has no memory for them."""
    numbers = f"(SELECT i * 7919 % {ROWS} AS id, i AS v FROM range({rows}) r(i))"
    with connect(node) as sql, duckdb.connect() as oracle:
        oracle.execute(f"CREATE TABLE events AS SELECT id::BIGINT AS id, v::BIGINT AS v FROM {numbers}")
        for view, query in VIEWS.items():
            shown = summed_up(view) if view == "grouped" else f"SELECT * FROM {view}"
            expected = sorted(oracle.execute(summed_up(f"({query})") if view == "grouped" else query).fetchall())
            wait_until(lambda: sorted(sql.execute(shown).fetchall()) == expected, 60, view)


def test_state_that_is_too_much_goes_to_disk(small_node):
    node = small_node
    with connect(node) as sql:
        sql.execute("CREATE TOPIC events (id BIGINT, v BIGINT) WITH (partitions = 2)")
        for view, query in VIEWS.items():
            sql.execute(f"CREATE MATERIALIZED VIEW {view} AS {query}")
    produce(node, range(ROWS))
    most = 0

    def all_came():
        nonlocal most
        most = max(most, node.memory_kb()["RssAnon"] / 1024)
        came = metrics(node, "millrace_flow_rows_in_total")
        return min(came.values()) >= ROWS and came["joined"] >= 2 * ROWS

    wait_until(all_came, 600, "all rows")
    state = sum(metrics(node, "millrace_flow_state_bytes").values()) / 2**20
    spilled = sum(metrics(node, "millrace_flow_spilled_bytes").values()) / 2**20
    print(f"state {state:.0f} MiB, {spilled:.0f} of it on disk; at most {most:.0f} MiB of memory, {MIB} given")
    # What is resident besides are pages of files, which the system takes back when it needs them.
    assert most < MIB < state / 2
    assert spilled > state / 2
    assert max(metrics(node, "millrace_flow_full").values()) == 0
    produce(node, range(ROWS, ROWS + 20_000))
    assert_equal(node, ROWS + 20_000)

    # From a snapshot too, whose state is again too much. Stopping takes one of state that is not large.
    if ROWS >= 1_000_000:
        wait_until(lambda: len(metrics(node, "millrace_flow_snapshots_total")) == len(VIEWS)
                   and min(metrics(node, "millrace_flow_snapshots_total").values()) >= 1, 300, "snapshots")
    node.stop()
    seen = len(node.log())
    node.start()
    assert_equal(node, ROWS + 20_000)
    assert node.log()[seen:].count("comes from a snapshot") == len(VIEWS)
