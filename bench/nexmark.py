#!/usr/bin/env python3
"""NEXMark: each query as a materialized view over JSON events in a topic, by the CPU of the whole process; every answer is compared with DuckDB's.

    make bench-nexmark                    all queries, 5,000,000 events, beside Flink and Hazelcast Jet: some ten minutes
    bench/nexmark.py q0 q5 --events 5000000
    bench/nexmark.py --peers              with fewer events, what a job of theirs costs before its first event counts against them

The events' generator and the exact answers are in the folder NEXMARK (../shared/bench/nexmark).
"""
import argparse
import hashlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "test")]

import psycopg  # noqa: E402

from node import Node, wait_until  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent / "nexmark"
NEXMARK = pathlib.Path(os.environ.get("NEXMARK", ROOT.parent / "shared" / "bench" / "nexmark"))


def queries():
    """{name: SELECT} of queries.sql."""
    found = re.findall(r"^-- (q\d+): .*\n((?:(?!^-- ).*\n?)*)", (HERE / "queries.sql").read_text(), re.M)
    return {name: text.strip().rstrip(";") for name, text in found}


def generate(folder, events):
    """Writes the events, two partitions, and gives their files."""
    program = folder / "nexgen"
    subprocess.run(["g++", "-O2", "-std=c++17", "-ffp-contract=off", "-o", program, NEXMARK / "nexgen.cpp"], check=True)
    data = folder / "events"
    data.mkdir()
    subprocess.run([program, "--events", str(events), "--parts", "2", "--out", data], check=True, stdout=subprocess.DEVNULL)
    return data


def digest(rows):
    """Independent of order: the sum of a hash of each row's text."""
    total = 0
    for row in rows:
        line = "\t".join("NULL" if v is None else str(v) for v in row)
        total += int.from_bytes(hashlib.md5(line.encode()).digest()[8:], "little")
    return f"{total % 2**64:016x}"


def answer(connection, name):
    """The view's rows as the reference spells them: times are milliseconds."""
    columns = connection.execute(f"SELECT column_name, data_type FROM information_schema.columns WHERE table_name = '{name}'").fetchall()
    wanted = ", ".join(f'epoch_ms("{c}")' if t.lower().startswith("timestamp") else f'"{c}"' for c, t in columns)
    return connection.execute(f"SELECT {wanted} FROM {name}").fetchall()


def metric(node, name, view):
    with urllib.request.urlopen(f"http://{node.http}/metrics") as response:
        found = re.search(rf'^{name}{{view="{view}"}} (\S+)$', response.read().decode(), re.M)
    return float(found[1])


def measure(connection, node, name, query, events):
    """From CREATE until the view has taken in every event, and is shown."""
    cpu, began = node.cpu_seconds(), time.monotonic()
    connection.execute(f"CREATE MATERIALIZED VIEW {name} AS {query}")
    wait_until(lambda: metric(node, "millrace_flow_lag_records", name) == 0, 600, name)
    seconds = time.monotonic() - began
    figure = {"cpu_s": node.cpu_seconds() - cpu, "seconds": seconds, "rss_mb": node.memory_kb()["VmRSS"] / 1024,
              "state_mb": metric(node, "millrace_flow_state_bytes", name) / 1e6}
    figure["k_per_cpu_s"] = events / figure["cpu_s"] / 1000
    return figure


def start(folder, data, cores):
    """A node that holds the events."""
    node = Node(folder / f"node{cores}", "--cores", str(cores))
    node.cli("sql", "-f", HERE / "events.sql")
    for part in (0, 1):
        with open(data / f"events-{part}.ndjson", "rb") as lines:
            subprocess.run([ROOT / "build" / "millrace", "produce", "events", "--partition", str(part), "--data", node.data], stdin=lines, check=True,
                           stderr=subprocess.DEVNULL)
    return node


def peer(engine, data, names, events, runs):
    """{query: thousand events for a second of the JVM's CPU}, the median of the runs after the first, which compiles; built when first asked for
    (needs Java 17 and Maven). Hazelcast's runner has no SQL: it knows some of the queries."""
    known = {"hazelcast": ["q0", "q1", "q2", "q3", "q5", "q7", "q8", "q11"]}.get(engine, names)
    cache = pathlib.Path.home() / ".cache" / "millrace-peers"
    if not (cache / {"flink": "flink-lib", "hazelcast": "hz-lib"}[engine]).exists():
        subprocess.run([NEXMARK / "peers-setup.sh"], check=True)
    found = {}
    for name in [n for n in names if n in known]:
        ran = subprocess.run([NEXMARK / engine / "run.sh", f"data={data}", f"sql={NEXMARK / 'sql' / 'flink'}", f"query={name}", f"runs={runs + 1}",
                              f"events={events}"], capture_output=True, text=True)
        if ran.returncode != 0:
            sys.exit(f"{engine} failed over {name}:\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}")
        measured = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
        cpu_ms = [m["cpu_ms"] for m in measured if m.get("run", 0) > 1]
        found[name] = events / statistics.median(cpu_ms)
        print(f"{name:<4} {engine} {found[name]:7,.0f} K events per CPU-s", flush=True)
    return found


def compare(figures, names, data, a):
    """Prints what ours is of theirs."""
    theirs = {engine: peer(engine, data, names, a.events, a.runs) for engine in ("flink", "hazelcast")}
    for label, figure in figures.items():
        name = label.split(",")[0]
        figure |= {engine: found[name] for engine, found in theirs.items() if name in found}
        ratios = [f"{figure['k_per_cpu_s'] / figure[engine]:5.1f} x {engine}" for engine in theirs if engine in figure]
        print(f"{name:<4} {figure['k_per_cpu_s']:7,.0f} K events per CPU-s  {'  '.join(ratios)}", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("queries", nargs="*", help="q0, q1, ... (all)")
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--cores", type=int, nargs="+", default=[0], help="millrace serve --cores; several: each in turn (0: one a core)")
    arguments.add_argument("--peers", action="store_true", help="Flink and Hazelcast Jet over the same events afterwards")
    arguments.add_argument("--json", help="write the figures here too")
    arguments.add_argument("--folder", default=ROOT / "build", help="where the node's data is; /dev/shm: what would it be without a disk to wait for?")
    a = arguments.parse_args()
    expected = json.loads((NEXMARK / "expected.json").read_text())["data"].get(str(a.events), {}).get("answers", {})
    chosen = {name: query for name, query in queries().items() if not a.queries or name in a.queries}
    figures, wrong = {}, []
    with tempfile.TemporaryDirectory(dir=a.folder) as folder:
        folder = pathlib.Path(folder)
        data = generate(folder, a.events)
        nodes = {cores: start(folder, data, cores) for cores in a.cores}
        for name, query in chosen.items():
            runs = {cores: [] for cores in a.cores}
            for _ in range(a.runs):
                for cores, node in nodes.items():
                    with psycopg.connect(host="127.0.0.1", port=node.pg.split(":")[1], user="bench", dbname="millrace", autocommit=True) as connection:
                        runs[cores].append(measure(connection, node, name, query, a.events))
                        rows = answer(connection, name)
                        connection.execute(f"DROP MATERIALIZED VIEW {name}")
                    if expected and expected[name]["digest"] != digest(rows):
                        wrong.append(name)
            for cores, measured in runs.items():
                m = {k: statistics.median(r[k] for r in measured) for k in measured[0]}
                figures[f"{name}, {cores} cores"] = m
                print(f"{name:<4} {f'{cores} cores' if cores else ''} {m['k_per_cpu_s']:7,.0f} K events per CPU-s  {a.events / m['seconds'] / 1000:7,.0f} K/s  {len(rows):>9,} rows  "
                      f"state {m['state_mb']:6.1f} MB  resident {m['rss_mb']:5.0f} MB  "
                      f"{'WRONG' if name in wrong else 'as DuckDB' if expected else 'not compared'}", flush=True)
        for node in nodes.values():
            node.stop()
        if a.peers:
            compare(figures, list(chosen), data, a)
    if a.json:
        pathlib.Path(a.json).write_text(json.dumps(figures, indent=1))
    if wrong:
        sys.exit(f"wrong answers: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
