"""The demo's views against DuckDB's answers to the same queries over the same files, also through kill -9."""
import math
import re
import threading

import confluent_kafka
import duckdb
import psycopg
import pytest

import events
from node import ROOT, wait_until

FLIGHTS = ROOT / "examples" / "flights"
TUMBLE = re.compile(r"TUMBLE\(flights, event_time, INTERVAL '1 hour'\)")
PLAIN = ("(SELECT *, time_bucket(INTERVAL '1 hour', event_time) AS window_start,"
         " time_bucket(INTERVAL '1 hour', event_time) + INTERVAL '1 hour' AS window_end FROM flights)")


def view_queries():
    """{view: its query}, as declared, in the order of declaration."""
    text = re.sub(r"--.*", "", (FLIGHTS / "03_views.sql").read_text())
    return dict(re.findall(r"CREATE MATERIALIZED VIEW (\w+) AS\s+(.*?);", text, re.S))


@pytest.fixture(scope="module")
def source():
    return events.all_events()


@pytest.fixture(scope="module")
def oracle(source, tmp_path_factory):
    """DuckDB with the same tables, the same events, and the views as plain views."""
    database = duckdb.connect()
    for name in ("01_tables.sql",):
        database.execute((FLIGHTS / name).read_text())
    columns = re.search(r"CREATE TOPIC flights \((.*?)WATERMARK", (FLIGHTS / "02_topics.sql").read_text(), re.S)[1]
    database.execute(f"CREATE TABLE flights ({re.sub('--.*', '', columns).strip().rstrip(',')})")
    for table in ("airlines", "airports", "planes", "weather"):
        database.execute(f"COPY {table} FROM '{FLIGHTS}/data/{table}.csv.zst' (FORMAT csv, HEADER, NULLSTR 'NA')")
    lines = tmp_path_factory.mktemp("oracle") / "events.jsonl"
    lines.write_bytes(b"\n".join(value for _, _, value in source))
    names = ", ".join(row[0] for row in database.execute("DESCRIBE flights").fetchall())
    database.execute(f"INSERT INTO flights SELECT {names} FROM read_json('{lines}', format = 'newline_delimited')")
    for view, query in view_queries().items():
        database.execute(f"CREATE VIEW {view} AS {TUMBLE.sub(PLAIN, query)}")
    yield database
    database.close()


def connect(node):
    host, port = node.pg.split(":")
    return psycopg.connect(host=host, port=port, user="test", dbname="millrace", autocommit=True)


def declare(node):
    node.cli("apply", "examples/flights")
    node.cli("sql", "-f", "examples/flights/load/tables.sql")


class Replay:
    """An idempotent producer of the whole year; counts what was acknowledged."""

    def __init__(self, node, source):
        self.source, self.acked, self.errors = source, 0, []
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": node.kafka, "enable.idempotence": True, "linger.ms": 5, "reconnect.backoff.max.ms": 200,
            "message.timeout.ms": 300_000, "queue.buffering.max.messages": 200_000})
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def on_delivery(self, error, _message):
        if error:
            self.errors.append(str(error))
        else:
            self.acked += 1

    def run(self):
        for number, (_, key, value) in enumerate(self.source):
            while True:
                try:
                    self.producer.produce("flights", key=key, value=value, on_delivery=self.on_delivery)
                    break
                except BufferError:
                    self.producer.poll(0.05)
            if number % 1000 == 0:
                self.producer.poll(0)
        self.producer.flush(300)

    def finish(self):
        self.thread.join(600)
        assert not self.thread.is_alive()
        assert not self.errors, self.errors[:3]
        assert self.acked == len(self.source)


def caught_up(node, oracle):
    """Waits until each view's total says that it has seen the whole year; what it says then is compared row by row."""
    totals = {"in_the_air": "sum(departed + cancelled)", "delays_by_hour": "sum(departures)", "routes": "sum(arrivals)",
              "departures": "count(*)", "delay_by_weather": "sum(departures)"}
    with connect(node) as connection:
        for view, total in totals.items():
            statement = f"SELECT coalesce({total}, 0)::BIGINT FROM {view}"
            expected = oracle.execute(statement).fetchone()
            wait_until(lambda: connection.execute(statement).fetchone() == expected, 300, f"{view}: {total} = {expected[0]}")


def same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12)
    return a == b


def assert_view_equals_duckdb(node, oracle, view):
    names = [row[0] for row in oracle.execute(f"DESCRIBE {view}").fetchall()]
    statement = f"SELECT {', '.join(names)} FROM {view}"
    with connect(node) as connection:
        ours = connection.execute(statement).fetchall()
    theirs = oracle.execute(statement).fetchall()
    key = lambda row: tuple((v is not None, str(v) if not isinstance(v, float) else f"{v:.9e}") for v in row)
    ours.sort(key=key)
    theirs.sort(key=key)
    assert len(ours) == len(theirs), view
    different = [(a, b) for a, b in zip(ours, theirs) if not all(map(same, a, b))]
    assert not different, f"{view}: {len(different)} rows differ, the first: {different[0]}"


def test_every_view_equals_duckdbs_answer_after_the_replay(own_node, source, oracle):
    declare(own_node)
    Replay(own_node, source).finish()
    caught_up(own_node, oracle)
    for view in view_queries():
        assert_view_equals_duckdb(own_node, oracle, view)


def test_kill_9_in_mid_replay_loses_nothing_and_doubles_nothing(own_node, source, oracle):
    declare(own_node)
    replay = Replay(own_node, source)
    for part in (0.2, 0.6):
        wait_until(lambda: replay.acked > part * len(source), 300, "the replay's progress")
        own_node.kill()
        own_node.start()
    replay.finish()
    caught_up(own_node, oracle)
    with connect(own_node) as connection:
        count, different = connection.execute("SELECT count(*), count(DISTINCT (flight_id, event)) FROM flights").fetchone()
    assert (count, different) == (len(source), len(source))
    for view in view_queries():
        assert_view_equals_duckdb(own_node, oracle, view)
    own_node.stop()
    own_node.start()
    for view in view_queries():
        assert_view_equals_duckdb(own_node, oracle, view)
