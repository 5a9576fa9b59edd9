#!/usr/bin/env python3
"""How long snapshots of much state stop a view, and what the state costs in memory.

    bench/snapshots.py [--rows 1000000]          another binary: MILLRACE=path bench/snapshots.py

Three views over one topic, while rows go on coming: a group a row, a join row of each side a row, one group with a value a row.
"""
import argparse
import json
import pathlib
import re
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "test")]

import confluent_kafka  # noqa: E402
import psycopg  # noqa: E402

from node import Node, wait_until  # noqa: E402

VIEWS = {
    "groups": "SELECT id, count(*) AS n, sum(amount) AS amount, max(amount) AS most FROM events GROUP BY id",
    "joined": "SELECT count(*) AS n, sum(b.amount) AS amount FROM events a JOIN events b ON a.id = b.id",
    "values": "SELECT count(DISTINCT amount) AS amounts FROM events",
}


def produce(node, rows, first):
    producer = confluent_kafka.Producer({"bootstrap.servers": node.kafka, "linger.ms": 20, "queue.buffering.max.messages": 2_000_000})
    for number in range(first, first + rows):
        producer.produce("events", b'{"id":%d,"amount":%d}' % (number * 7919 % rows, number), partition=number % 2)
        if number % 10_000 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0


def metric(node, name, view):
    text = urllib.request.urlopen(f"http://{node.http}/metrics").read().decode()
    found = re.search(rf'^{name}{{view="{view}"}} (\S+)$', text, re.M)
    return float(found[1]) if found else 0.0


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=1_000_000)
    rows = arguments.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        node = Node(pathlib.Path(folder) / "data")
        host, port = node.pg.split(":")
        sql = psycopg.connect(host=host, port=port, user="bench", dbname="millrace", autocommit=True)
        sql.execute("CREATE TOPIC events (id BIGINT, amount BIGINT) WITH (partitions = 2)")
        produce(node, rows, 0)
        for view, query in VIEWS.items():
            sql.execute(f"CREATE MATERIALIZED VIEW {view} AS {query}")
        done = threading.Event()

        def trickle():
            """A hundred rows every 50 ms, over keys that are there."""
            producer = confluent_kafka.Producer({"bootstrap.servers": node.kafka, "linger.ms": 0})
            number = rows
            while not done.wait(0.05):
                for _ in range(100):
                    producer.produce("events", json.dumps({"id": number * 104_729 % rows, "amount": number}), partition=number % 2)
                    number += 1
                producer.poll(0)
            producer.flush(10)

        wait_until(lambda: all(metric(node, "millrace_flow_rows_in_total", view) >= rows for view in VIEWS), 600, "the history")
        thread = threading.Thread(target=trickle)
        thread.start()
        began = time.monotonic()
        print("| view | state MB | bytes a row of the input | file MB | pause ms |\n|---|---|---|---|---|")
        for view in VIEWS:
            wait_until(lambda: metric(node, "millrace_flow_snapshots_total", view) >= 1, 900, f"a snapshot of {view}")
            state = metric(node, "millrace_flow_state_bytes", view)
            print(f"| `{view}` | {state / 1e6:.0f} | {state / rows:.0f} | {metric(node, 'millrace_flow_snapshot_bytes', view) / 1e6:.0f} | "
                  f"{1000 * metric(node, 'millrace_flow_snapshot_pause_seconds', view):.1f} |", flush=True)
        print(f"resident: {node.memory_kb()['VmRSS'] / 1024:.0f} MB; {time.monotonic() - began:.0f} s of snapshots", file=sys.stderr)
        done.set()
        thread.join()
        node.kill()


if __name__ == "__main__":
    main()
