#!/usr/bin/env python3
"""Measures Millrace, and next to it Apache Kafka in the same run. One table a case; `--json FILE` also writes the raw figures.

    make bench                        everything (about five minutes)
    bench/run.py start flights        some cases: start, flights, produce, paced
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "test"), str(ROOT / "examples" / "flights"), str(ROOT / "bench")]

import psycopg  # noqa: E402

import events  # noqa: E402
import kafka_peer  # noqa: E402
from node import Node  # noqa: E402

median = statistics.median


def connect(node):
    host, port = node.pg.split(":")
    return psycopg.connect(host=host, port=port, user="bench", dbname="millrace", autocommit=True)


def start(folder, runs):
    """Start-up to ready on an empty folder, and what an idle node uses."""
    ready, rss, anonymous = [], [], []
    for run in range(max(5, runs)):
        node = Node(folder / f"start-{run}")
        ready.append(node.ready_seconds * 1000)
        time.sleep(0.5)
        memory = node.memory_kb()
        rss.append(memory["VmRSS"] / 1024)
        anonymous.append(memory["RssAnon"] / 1024)
        node.stop()
    print(f"start to ready {median(ready):.0f} ms (best {min(ready):.0f}, worst {max(ready):.0f}); idle {median(rss):.1f} MB resident, "
          f"{median(anonymous):.1f} MB of it anonymous")
    return {"ready_ms": ready, "idle_rss_mb": rss, "idle_anon_mb": anonymous}


def views_are_complete(connection, departures):
    got = connection.execute("""SELECT (SELECT coalesce(sum(departures), 0) FROM delay_by_weather)::BIGINT,
        (SELECT coalesce(sum(departures), 0) FROM delays_by_hour)::BIGINT, (SELECT coalesce(sum(departed), 0) FROM in_the_air)::BIGINT,
        (SELECT coalesce(sum(flights), 0) FROM in_the_air)::BIGINT""").fetchone()
    return got == (departures, departures, departures, 0)


def flights(folder, runs):
    """The year through Kafka into five views, with a native client; from its start until all views hold all of it."""
    source = events.all_events()
    departures = sum(b'"departed"' in value for _, _, value in source)
    lines = folder / "events.tsv"
    lines.write_bytes(b"".join(key + b"\t" + value + b"\n" for _, key, value in source))
    figures = []
    for run in range(runs):
        node = Node(folder / f"flights-{run}")
        node.cli("apply", "examples/flights")
        node.cli("sql", "-f", "examples/flights/load/tables.sql")
        with connect(node) as connection, open(lines, "rb") as stdin:
            cpu, began = node.cpu_seconds(), time.monotonic()
            client = subprocess.Popen([ROOT / "build" / "millrace", "produce", "flights", "-K", "\t", "--data", node.data], stdin=stdin,
                                      stderr=subprocess.DEVNULL)
            acked = None
            while not views_are_complete(connection, departures):
                if acked is None and client.poll() is not None:
                    acked = time.monotonic() - began
                if time.monotonic() - began > 300:
                    sys.exit("the views did not catch up in 300 s")
                time.sleep(0.02)
            total = time.monotonic() - began
            client.wait()
            figures.append({"acked_s": acked or total, "total_s": total, "node_cpu_s": node.cpu_seconds() - cpu, "rss_mb": node.memory_kb()["VmRSS"] / 1024})
        node.stop()
    m = {k: median(f[k] for f in figures) for k in figures[0]}
    print(f"flights: {len(source):,} events acknowledged after {m['acked_s']:.2f} s, in all views after {m['total_s']:.2f} s "
          f"({len(source) / m['total_s']:,.0f} events/s); node CPU {m['node_cpu_s']:.2f} s ({m['node_cpu_s'] / len(source) * 1e6:.2f} us an event); "
          f"{m['rss_mb']:.0f} MB resident at the end")
    return figures


def side_by_side(folder, runs, cases):
    """Each case on both brokers in turn, `runs` times; medians and their ratio."""
    node, kafka = Node(folder / "millrace"), kafka_peer.Kafka(folder / "kafka")
    rows = []
    try:
        for name, (records, size, throughput) in cases.items():
            figures = {"millrace": [], "kafka": []}
            for run in range(runs):
                for who, broker in (("millrace", node), ("kafka", kafka)):
                    topic = f"{name.replace(' ', '-')}-{run}"
                    kafka_peer.create_topic(broker.kafka, topic)
                    cpu = kafka_peer.cpu_seconds(broker.pid)
                    figure = kafka_peer.perf_produce(broker.kafka, topic, records, size, throughput)
                    figure["cpu_us"] = (kafka_peer.cpu_seconds(broker.pid) - cpu) / records * 1e6
                    figures[who].append(figure)
            rows.append((name, figures))
            ours, theirs = ({k: median(f[k] for f in figures[who]) for k in figures[who][0]} for who in ("millrace", "kafka"))
            print(f"{name:<22} Millrace {ours['records_s']:>9,.0f}/s  CPU {ours['cpu_us']:5.2f} us  p50 {ours['p50_ms']:.0f} p99 {ours['p99_ms']:.0f} ms   "
                  f"Kafka {theirs['records_s']:>9,.0f}/s  CPU {theirs['cpu_us']:5.2f} us  p50 {theirs['p50_ms']:.0f} p99 {theirs['p99_ms']:.0f} ms   "
                  f"ratio {ours['records_s'] / theirs['records_s']:.2f}", flush=True)
        print(f"memory after it: Millrace {kafka_peer.rss_mb(node.pid):.0f} MB, Kafka {kafka_peer.rss_mb(kafka.pid):.0f} MB; "
              f"start: Millrace {node.ready_seconds * 1000:.0f} ms, Kafka {kafka.ready_seconds * 1000:.0f} ms")
    finally:
        node.stop()
        kafka.stop()
    return rows


def produce(folder, runs):
    """Kafka's own producer perf tool, acks=all. Millrace has every record on disk (fdatasync) before it answers; Kafka does not."""
    return side_by_side(folder, runs, {"produce 100 B": (1_000_000, 100, -1), "produce 1 KiB": (200_000, 1024, -1)})


def paced(folder, runs):
    """5,000 records of 1 KiB a second: latency of the acknowledgement."""
    return side_by_side(folder, runs, {"paced 5000 of 1 KiB": (50_000, 1024, 5000)})


CASES = {"start": start, "flights": flights, "produce": produce, "paced": paced}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="start, flights, produce, paced; all by default")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - set(CASES):
        parser.error(f"no case is called {', '.join(sorted(unknown))}")
    libraries = ROOT / "build" / "deps" / "java"
    subprocess.run([ROOT / "test" / "java" / "setup.sh", libraries], check=True)
    os.environ["KAFKA_LIBS"] = str(libraries / "kafka")
    results = {}
    for name in arguments.cases or CASES:
        print(f"== {name}: {CASES[name].__doc__}", flush=True)
        with tempfile.TemporaryDirectory(prefix="millrace-bench-", dir=ROOT / "build") as folder:
            results[name] = CASES[name](pathlib.Path(folder), arguments.runs)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
