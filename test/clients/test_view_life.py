"""The life of a view: seen from inside, paused, replaced, dropped, while records come."""
import json
import random
import threading
import time

import confluent_kafka
import duckdb
import psycopg
import pytest

from node import wait_until


def connect(node):
    host, port = node.pg.split(":")
    return psycopg.connect(host=host, port=port, user="test", dbname="millrace", autocommit=True)


def produce(node, topic, values):
    producer = confluent_kafka.Producer({"bootstrap.servers": node.kafka, "enable.idempotence": True, "linger.ms": 2})
    for value in values:
        while True:
            try:
                producer.produce(topic, json.dumps(value))
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(60) == 0


def view_row(sql, name):
    found = sql("SELECT * FROM (SELECT state, progress, lag, rows, state_bytes, epoch, watermark::VARCHAR, error FROM millrace.views"
                " WHERE name = %s)", name)
    return found[0] if found else None


def test_views_and_operators_are_seen_at_work(node, sql):
    sql("CREATE TOPIC sales (id INTEGER, shop VARCHAR, placed TIMESTAMP, WATERMARK FOR placed AS placed - INTERVAL '1 minute')")
    sql("CREATE MATERIALIZED VIEW per_shop AS SELECT shop, window_start AS hour, count(*) AS n FROM TUMBLE(sales, placed, INTERVAL '1 hour')"
        " WHERE id >= 10 GROUP BY shop, window_start")
    sql("CREATE MATERIALIZED VIEW strict WITH (on_error = 'stop') AS SELECT (CASE WHEN id = 5 THEN 'five' ELSE id::VARCHAR END)::INTEGER AS n FROM sales")
    sql("CREATE SINK copy AS SELECT id FROM sales")
    produce(node, "sales", [{"id": i, "shop": f"s{i % 3}", "placed": f"2026-01-01T{i // 60:02}:{i % 60:02}:00"} for i in range(200)])
    wait_until(lambda: view_row(sql, "per_shop")[2] == 0)
    state, progress, lag, rows, state_bytes, epoch, watermark, error = view_row(sql, "per_shop")
    assert (state, progress, lag, rows, error) == ("live", 100, 0, 12, None) and state_bytes > 0 and epoch > 0
    operators = sql("SELECT operator, parent, description, rows_in, rows_out, state_rows, watermark::VARCHAR, late_rows, busy_ms"
                    " FROM millrace.operators WHERE view = 'per_shop' ORDER BY operator")
    stream = next(o for o in operators if o[2] == "stream sales")
    assert stream[3] == 200 and stream[6].startswith("2026-01-01 03:18:00")
    aggregate = next(o for o in operators if o[2].startswith("aggregate"))
    assert aggregate[3] == 190 and aggregate[4] >= 12
    assert operators[0][1] is None and all(o[1] is not None and o[1] < o[0] for o in operators[1:])
    tree = [line for (line,) in sql("EXPLAIN ANALYZE per_shop")]
    assert len(tree) == len(operators) and "rows in 200, rows out 200" in tree[-1] and tree[-1].startswith("  "), tree
    wait_until(lambda: view_row(sql, "strict")[0] == "failed")
    assert "'five'" in view_row(sql, "strict")[7]
    assert sql("SELECT kind, state FROM millrace.views WHERE name = 'copy'") == [("sink", "live")]
    listed = node.cli("view", "list").stdout
    assert "per_shop" in listed and "live" in listed and "failed" in listed
    produce(node, "sales", [{"id": 500, "shop": "s0", "placed": "2026-01-01T00:00:00"}])
    wait_until(lambda: sql("SELECT sum(late_rows)::INTEGER FROM millrace.operators WHERE view = 'per_shop'") == [(1,)])


def test_a_paused_view_stands_still_through_kill(own_node):
    node = own_node
    with connect(node) as sql:
        sql.execute("CREATE TOPIC ticks (n INTEGER)")
        sql.execute("CREATE MATERIALIZED VIEW counted AS SELECT count(*)::INTEGER AS n FROM ticks")
        produce(node, "ticks", [{"n": i} for i in range(100)])
        wait_until(lambda: sql.execute("SELECT n FROM counted").fetchall() == [(100,)])
        sql.execute("ALTER MATERIALIZED VIEW counted PAUSE")
        produce(node, "ticks", [{"n": i} for i in range(50)])
        assert sql.execute("SELECT state, lag FROM millrace.views").fetchall() == [("paused", 50)]
    node.kill()
    node.start()
    with connect(node) as sql:
        assert sql.execute("SELECT n FROM counted").fetchall() == [(100,)]
        assert sql.execute("SELECT state FROM millrace.views").fetchall() == [("paused",)]
        sql.execute("ALTER MATERIALIZED VIEW counted RESUME")
        wait_until(lambda: sql.execute("SELECT n FROM counted").fetchall() == [(150,)])
        with pytest.raises(psycopg.Error, match="counted reads it"):
            sql.execute("DROP TOPIC ticks")
        sql.execute("DROP TOPIC ticks CASCADE")
        assert sql.execute("SHOW ALL").fetchall() == []


def test_backfill_beside_a_live_producer_has_no_gap_and_no_double(node, sql):
    sql("CREATE TOPIC feed (id INTEGER, text VARCHAR) WITH (partitions = 2)")
    produce(node, "feed", [{"id": i, "text": str(i)} for i in range(20000)])
    # The type of a field changes in the middle of the topic, to one that fits and to one that does not.
    live = [{"id": i, "text": i} if i % 3 else {"id": f"n{i}", "text": str(i)} for i in range(20000, 40000)]
    producing = threading.Thread(target=produce, args=(node, "feed", live))
    producing.start()
    sql("CREATE MATERIALIZED VIEW fed AS SELECT count(*)::INTEGER AS n, count(DISTINCT id)::INTEGER AS ids, sum(text::BIGINT)::BIGINT AS total"
        " FROM feed")
    producing.join()
    good = list(range(20000)) + [i for i in range(20000, 40000) if i % 3]
    wait_until(lambda: sql("SELECT * FROM fed") == [(len(good), len(good), sum(good))])
    assert sql("SELECT state, progress FROM millrace.views WHERE name = 'fed'") == [("live", 100)]
    bad = sum(1 for i in range(20000, 40000) if i % 3 == 0)
    wait_until(lambda: sql("SELECT count(*)::INTEGER FROM \"feed.dead_letter\"") == [(bad,)])


def test_a_view_is_replaced_through_kill_while_records_come(own_node):
    node = own_node
    old, new = ("SELECT n % 10 AS k, count(*)::INTEGER AS c FROM rain GROUP BY ALL", "SELECT n % 13 AS k, count(*)::INTEGER AS c FROM rain GROUP BY ALL")
    with connect(node) as sql:
        sql.execute("CREATE TOPIC rain (n INTEGER) WITH (partitions = 2)")
        produce(node, "rain", [{"n": i} for i in range(130000)])
        sql.execute(f"CREATE MATERIALIZED VIEW wet AS {old}")
        wait_until(lambda: sql.execute("SELECT sum(c)::INTEGER FROM wet").fetchall() == [(130000,)])
        sql.execute(f"CREATE OR REPLACE MATERIALIZED VIEW wet AS {new}")
    node.kill()
    node.start()
    with connect(node) as sql:
        whole = ([(k, 13000) for k in range(10)], [(k, 10000) for k in range(13)])
        replaced = lambda: sql.execute("SELECT state FROM millrace.views").fetchall() == [("live",)]
        for wait in (True, False):
            assert sorted(sql.execute("SELECT k, c FROM wet").fetchall()) in whole
            if wait:
                wait_until(replaced)
        produce(node, "rain", [{"n": i} for i in range(1300)])
        wait_until(lambda: sorted(sql.execute("SELECT k, c FROM wet").fetchall()) == [(k, 10100) for k in range(13)])
        assert sql.execute("SHOW CREATE wet").fetchall() == [(f"CREATE MATERIALIZED VIEW wet AS\n{new}",)]
        assert sql.execute("SELECT name FROM millrace.topics ORDER BY 1").fetchall() == [("rain",), ("wet",)]


def consume_all(node, topic):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": node.kafka, "group.id": "reader", "isolation.level": "read_committed"})
    partition = confluent_kafka.TopicPartition(topic, 0, 0)
    consumer.assign([partition])
    end = consumer.get_watermark_offsets(partition, timeout=30)[1]
    records = []
    while not records or records[-1].offset() + 1 < end:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            records.append(message)
    consumer.close()
    return [(json.loads(m.key())["k"], m.value() and json.loads(m.value())["c"]) for m in records]


def test_a_view_that_others_read_is_replaced_through_kill(own_node):
    """Kills at random moments around the change: the readers and the sink come to DuckDB's answer, each change once."""
    node = own_node
    per = lambda keys: f"SELECT n % {keys} AS k, count(*)::INTEGER AS c FROM rain GROUP BY ALL"
    over = "SELECT max(c) AS most, count(*)::INTEGER AS keys, sum(c)::INTEGER AS total FROM wet"
    with connect(node) as sql:
        sql.execute("CREATE TOPIC rain (n INTEGER)")
        produce(node, "rain", [{"n": i} for i in range(20000)])
        sql.execute(f"CREATE MATERIALIZED VIEW wet AS {per(10)}")
        sql.execute(f"CREATE MATERIALIZED VIEW over_wet AS {over}")
        sql.execute("CREATE SINK poured WITH (format = 'upsert', key = 'k') AS SELECT k, c FROM wet")
        wait_until(lambda: sql.execute("SELECT total FROM over_wet").fetchall() == [(20000,)])
    count = 20000
    for keys in (13, 7, 11):
        with connect(node) as sql:
            sql.execute(f"CREATE OR REPLACE MATERIALIZED VIEW wet AS {per(keys)}")
        produce(node, "rain", [{"n": i} for i in range(count, count + 500)])
        count += 500
        time.sleep(random.random() * 0.4)
        node.kill()
        node.start()
        oracle = duckdb.connect()
        oracle.execute(f"CREATE TABLE rain AS SELECT n::INTEGER AS n FROM range({count}) r(n)")
        oracle.execute(f"CREATE VIEW wet AS {per(keys)}")
        rows = sorted(oracle.execute("SELECT * FROM wet").fetchall())
        with connect(node) as sql:
            wait_until(lambda: sql.execute("SELECT state FROM millrace.views WHERE name = 'wet'").fetchall() == [("live",)])
            wait_until(lambda: sorted(sql.execute("SELECT * FROM wet").fetchall()) == rows)
            wait_until(lambda: sql.execute("SELECT * FROM over_wet").fetchall() == oracle.execute(over).fetchall())

        def poured():
            last = {}
            for key, value in consume_all(node, "poured"):
                assert key not in last or last[key] != value, f"{key} is written twice: {value}"
                last[key] = value
            return sorted((k, c) for k, c in last.items() if c is not None) == rows

        wait_until(poured)
    with connect(node) as sql, pytest.raises(psycopg.Error, match='over_wet uses "c"; poured uses "c"'):
        sql.execute("CREATE OR REPLACE MATERIALIZED VIEW wet AS SELECT n AS k FROM rain")


def test_rows_leave_a_view_as_time_passes(node, sql):
    sql("CREATE TOPIC pings (id INTEGER, seen_at TIMESTAMP)")
    sql("CREATE MATERIALIZED VIEW alive AS SELECT id FROM pings WHERE seen_at BETWEEN now() - INTERVAL '1 second' AND now() + INTERVAL '1 hour'")
    sql("INSERT INTO pings VALUES (1, now()::TIMESTAMP - INTERVAL '1 hour')")

    def seen():
        # Again: on a slow machine a row may be gone before anyone has looked.
        sql("INSERT INTO pings VALUES (2, now()::TIMESTAMP)")
        return sql("SELECT DISTINCT id FROM alive") == [(2,)]

    wait_until(seen)
    wait_until(lambda: sql("SELECT * FROM alive") == [])
    assert sql("SELECT state, error FROM millrace.views WHERE name = 'alive'") == [("live", None)]
