#!/usr/bin/env python3
"""Measures Millrace, and next to it Apache Kafka in the same run. One table a case; `--json FILE` also writes the raw figures.

    make bench                        everything (about twenty minutes)
    bench/run.py start native         some cases: start, flights, produce, paced, native, replay, consume, latency, view, transform, client, hostile, memory, restart, cost, instructions
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "test"), str(ROOT / "examples" / "flights"), str(ROOT / "bench")]

import psycopg  # noqa: E402
from confluent_kafka import Producer  # noqa: E402

import events  # noqa: E402
import kafka_peer  # noqa: E402
from figures import clients_cpu_seconds, median, medians, touch_memory  # noqa: E402
from node import BINARY, Node  # noqa: E402


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
    m = medians(figures)
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
            ours, theirs = (medians(figures[who]) for who in ("millrace", "kafka"))
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


WIRE = ROOT / "build" / "release" / "bench" / "millrace_wire"


def run_client(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    return json.loads(done.stdout)


def wire(*arguments):
    """Runs the native client (bench/wire.cc)."""
    return run_client(WIRE, *arguments)


def measured(broker, *arguments, client=wire):
    """What a client gives, with the CPU that the broker's process used for each record in microseconds."""
    before = kafka_peer.cpu_seconds(broker.pid)
    figure = client(*arguments)
    figure["cpu_us"] = (kafka_peer.cpu_seconds(broker.pid) - before) / figure["records"] * 1e6
    return figure


NATIVE = {"100 B": (2_000_000, 100), "1 KiB": (400_000, 1024)}


def native(folder, runs):
    """A native client (librdkafka, its batching defaults): produce with acks=all, then consume what was produced. The last column
    is Kafka when it too syncs before it answers (flush.messages=1)."""
    node, kafka = Node(folder / "millrace"), kafka_peer.Kafka(folder / "kafka")
    rows = {}
    try:
        for name, (records, size) in NATIVE.items():
            figures = {}
            for run in range(runs):
                for who, broker, count, configs in (("millrace", node, records, {}), ("kafka", kafka, records, {}),
                                                    ("kafka_fsync", kafka, records // 20, {"flush_messages": 1})):
                    topic = f"native-{size}-{who}-{run}"
                    kafka_peer.create_topic(broker.kafka, topic, **configs)
                    touch_memory()
                    figures.setdefault((who, "produce"), []).append(measured(broker, "produce", broker.kafka, topic, count, size))
                    figures.setdefault((who, "consume"), []).append(measured(broker, "consume", broker.kafka, topic, count))
            for verb in ("produce", "consume"):
                ours, theirs, synced = (medians(figures[who, verb]) for who in ("millrace", "kafka", "kafka_fsync"))
                print(f"{verb} {name:<6} Millrace {ours['records_s']:>10,.0f}/s  CPU {ours['cpu_us']:6.3f} us   Kafka {theirs['records_s']:>10,.0f}/s  "
                      f"CPU {theirs['cpu_us']:6.3f} us  ratio {ours['records_s'] / theirs['records_s']:5.2f}" +
                      (f"   Kafka with fsync {synced['records_s']:>9,.0f}/s  ratio {ours['records_s'] / synced['records_s']:5.2f}" if verb == "produce" else ""),
                      flush=True)
            rows[name] = {" ".join(k): v for k, v in figures.items()}
        print(f"memory after it: Millrace {kafka_peer.rss_mb(node.pid):.0f} MB, Kafka {kafka_peer.rss_mb(kafka.pid):.0f} MB")
    finally:
        node.stop()
        kafka.stop()
    return rows


REPLAY = {"100 B, librdkafka's batches": (8_000_000, 100, 1_000_000), "1 KiB, librdkafka's batches": (1_000_000, 1024, 1_000_000),
          "100 B, Java's batches": (3_000_000, 100, 16_384), "1 KiB, Java's batches": (600_000, 1024, 16_384)}


def replay(folder, runs):
    """What the broker takes when its client costs next to nothing (bench/replay.cc): requests that are ready, of the batches that
    librdkafka and the Java client make by default, five under way. Then Kafka with flush.messages=1, and what a program takes that does
    nothing but write and wait for the disk, through the file cache and around it (bench/floor.cc): no broker that syncs gets past it."""
    def client(*arguments):
        return run_client(WIRE.with_name("millrace_replay"), *arguments)

    def floor(how, *arguments):
        file = folder / "floor"
        with subprocess.Popen([WIRE.with_name("millrace_floor"), how, file], stdout=subprocess.PIPE, text=True) as server:
            try:
                return client(f"127.0.0.1:{int(server.stdout.readline())}", "floor", *arguments)
            finally:
                server.kill()
                file.unlink(missing_ok=True)

    node, kafka = Node(folder / "millrace"), kafka_peer.Kafka(folder / "kafka")
    rows = {}
    try:
        for name, (records, size, batch) in REPLAY.items():
            figures = {}
            for run in range(runs):
                for who, broker, count, configs in (("millrace", node, records, {}), ("kafka", kafka, records, {}),
                                                    ("kafka_fsync", kafka, records // 10, {"flush_messages": 1})):
                    topic = f"replay-{size}-{batch}-{who}-{run}"
                    kafka_peer.create_topic(broker.kafka, topic, **configs)
                    touch_memory()
                    figures.setdefault(who, []).append(measured(broker, broker.kafka, topic, count, size, batch, client=client))
                for how in "sync", "direct":
                    touch_memory()
                    figures.setdefault(how, []).append(floor(how, records, size, batch))
            ours, theirs, synced, cached, direct = (medians(figures[who]) for who in ("millrace", "kafka", "kafka_fsync", "sync", "direct"))
            print(f"{name:<28} Millrace {ours['records_s']:>10,.0f}/s  CPU {ours['cpu_us']:6.3f} us   Kafka {theirs['records_s']:>10,.0f}/s  "
                  f"CPU {theirs['cpu_us']:6.3f} us  ratio {ours['records_s'] / theirs['records_s']:5.2f}   Kafka with fsync "
                  f"{synced['records_s']:>9,.0f}/s  ratio {ours['records_s'] / synced['records_s']:5.2f}   nothing but writes and syncs "
                  f"{cached['records_s']:,.0f}/s, around the cache {direct['records_s']:,.0f}/s", flush=True)
            rows[name] = figures
    finally:
        node.stop()
        kafka.stop()
    return rows


def latency(folder, runs):
    """From the moment a record is due to its arrival at a consumer of the same client process: 1 KiB, acks=all, linger 0, at 5,000
    a second and at 20 % and 60 % of the throughput that the client and Millrace reached together just before, unpaced.
    Kafka without and with fsync."""
    node, kafka = Node(folder / "millrace"), kafka_peer.Kafka(folder / "kafka")
    rows = {}
    try:
        kafka_peer.create_topic(node.kafka, "quick")
        most = wire("latency", node.kafka, "quick", 0.01, 50_000_000, 1024)["records_s"]
        for name, rate in (("5,000/s", 5000), ("20 %", most * 0.2), ("60 %", most * 0.6)):
            figures = {}
            for run in range(runs):
                for who, broker, configs in (("Millrace", node, {}), ("Kafka", kafka, {}), ("Kafka with fsync", kafka, {"flush_messages": 1})):
                    if "fsync" in who and rate > 8000:
                        continue  # it cannot follow
                    topic = f"latency-{int(rate)}-{who.replace(' ', '-')}-{run}"
                    kafka_peer.create_topic(broker.kafka, topic, **configs)
                    figures.setdefault(who, []).append(measured(broker, "latency", broker.kafka, topic, 10, int(rate), 1024, "linger.ms=0"))
            print(f"{name:<8} ({rate:,.0f}/s)  " + "   ".join(
                f"{who}: p50 {m['p50_ms']:.2f} p99 {m['p99_ms']:.2f} p99.9 {m['p999_ms']:.2f} ms, CPU {m['cpu_us']:.1f} us"
                for who, m in ((who, medians(f)) for who, f in figures.items())), flush=True)
            rows[name] = figures
    finally:
        node.stop()
        kafka.stop()
    return rows


def consume(folder, runs):
    """Kafka's own consumer perf tool, over what its producer tool wrote."""
    node, kafka = Node(folder / "millrace"), kafka_peer.Kafka(folder / "kafka")
    rows = {}
    try:
        for name, (records, size) in NATIVE.items():
            figures = {}
            for who, broker in (("millrace", node), ("kafka", kafka)):
                kafka_peer.create_topic(broker.kafka, f"consume-{size}")
                kafka_peer.perf_produce(broker.kafka, f"consume-{size}", records, size)
            for _ in range(runs):
                for who, broker in (("millrace", node), ("kafka", kafka)):
                    before = kafka_peer.cpu_seconds(broker.pid)
                    figure = kafka_peer.perf_consume(broker.kafka, f"consume-{size}", records)
                    figure["cpu_us"] = (kafka_peer.cpu_seconds(broker.pid) - before) / records * 1e6
                    figures.setdefault(who, []).append(figure)
            ours, theirs = medians(figures["millrace"]), medians(figures["kafka"])
            print(f"consume {name:<6} Millrace {ours['records_s']:>10,.0f}/s  CPU {ours['cpu_us']:6.3f} us   Kafka {theirs['records_s']:>10,.0f}/s  "
                  f"CPU {theirs['cpu_us']:6.3f} us  ratio {ours['records_s'] / theirs['records_s']:5.2f}", flush=True)
            rows[name] = figures
    finally:
        node.stop()
        kafka.stop()
    return rows


def memory(folder, runs):
    """1,000 partitions and 1,000 connections under load: resident memory."""
    del runs
    node = Node(folder / "node")
    node.cli("topic", "create", "wide", "-p", "1000")
    idle = node.memory_kb()["VmRSS"] / 1024
    host, port = node.kafka.split(":")
    connections = []
    for _ in range(1000):
        connection = socket.create_connection((host, int(port)))
        connection.sendall(metadata_request())
        connections.append(connection)
    for connection in connections:
        size = int.from_bytes(read_exactly(connection, 4), "big")
        read_exactly(connection, size)
    connected = node.memory_kb()["VmRSS"] / 1024
    figure = wire("produce", node.kafka, "wide", 2_000_000, 100)
    wire("consume", node.kafka, "wide", 2_000_000)
    loaded = node.memory_kb()
    print(f"1,000 partitions {idle:.1f} MB; and 1,000 connections {connected:.1f} MB; after 2 M records through them {loaded['VmRSS'] / 1024:.1f} MB "
          f"(highest {loaded['VmHWM'] / 1024:.1f} MB), {figure['records_s']:,.0f} records/s")
    for connection in connections:
        connection.close()
    node.stop()
    return {"idle_mb": idle, "connected_mb": connected, "loaded_mb": loaded["VmRSS"] / 1024, "highest_mb": loaded["VmHWM"] / 1024}


def metadata_request():
    """Metadata version 1 of no topic: enough for a connection to have had a request and an answer."""
    body = (3).to_bytes(2, "big") + (1).to_bytes(2, "big") + (7).to_bytes(4, "big") + (5).to_bytes(2, "big") + b"bench" + (0).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + body


def read_exactly(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            sys.exit("the node closed a connection")
        data += more
    return data


def restart(folder, runs):
    """Start to ready with 10,000 partitions and 10 GB of log, after SIGTERM and after kill -9."""
    node = Node(folder / "node")
    node.cli("topic", "create", "wide", "-p", "9990")
    node.cli("topic", "create", "large", "-p", "10")
    wire("produce", node.kafka, "large", 1_250_000, 8192, "linger.ms=50", "batch.size=1000000", "queue.buffering.max.kbytes=200000")
    wire("produce", node.kafka, "wide", 1_000_000, 100)
    clean, killed = [], []
    for _ in range(runs):
        node.stop()
        node.start()
        clean.append(node.ready_seconds)
        wire("produce", node.kafka, "wide", 100_000, 100)
        node.kill()
        node.start()
        killed.append(node.ready_seconds)
    print(f"10,000 partitions, 10 GB: ready after SIGTERM {median(clean):.2f} s, after kill -9 {median(killed):.2f} s; {node.memory_kb()['VmRSS'] / 1024:.0f} MB")
    node.stop()
    return {"clean_s": clean, "killed_s": killed}


def cost(folder, runs):
    """System calls for 1,000 records, by the kernel's count (needs perf)."""
    del runs
    if not shutil.which("perf"):
        print("perf is not installed: not measured")
        return {}
    node = Node(folder / "node")
    rows = {}
    for name, (records, size) in NATIVE.items():
        node.cli("topic", "create", f"cost-{size}")
        for verb, arguments in (("produce", (records, size)), ("consume", (records,))):
            counter = subprocess.Popen(["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", str(node.pid)], stderr=subprocess.PIPE, text=True)
            time.sleep(0.5)
            before = node.cpu_seconds()
            wire(verb, node.kafka, f"cost-{size}", *arguments)
            cpu = (node.cpu_seconds() - before) / records * 1e6
            counter.send_signal(signal.SIGINT)
            calls = int(counter.communicate()[1].split(",")[0]) / records * 1000
            rows[f"{verb} {name}"] = {"syscalls": calls, "cpu_us": cpu}
            print(f"{verb} {name:<6} {calls:7.2f} system calls for 1,000 records, {cpu:.3f} us of CPU a record", flush=True)
    node.stop()
    return rows


def instructions(folder, runs):
    """Instructions that the node itself executes for a record (callgrind; the kernel's are not among them): the same on every machine
    with the same processor, however busy. Requests of `replay` are produced, then consumed by librdkafka."""
    del runs
    if not shutil.which("valgrind"):
        print("valgrind is not installed: not measured")
        return {}
    binary = folder / "millrace"  # valgrind cannot read the debug information of clang 19
    subprocess.run(["strip", "-g", "-o", binary, BINARY], check=True)
    node = Node(folder / "node", under=("valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind", "--instr-atstart=no"), binary=binary)

    def control(*arguments):
        return subprocess.run(["callgrind_control", *arguments, str(node.pid)], check=True, capture_output=True, text=True).stdout

    def counted(client, *arguments):
        control("--zero")
        records = run_client(WIRE.with_name(f"millrace_{client}"), *arguments)["records"]
        lines = control("-e").splitlines()
        return sum(int(line.split()[-1].replace(",", "")) for line in lines if line.strip().startswith("Th")) / records

    rows = {}
    try:
        control("--instr=on")
        for name, (records, size, batch) in REPLAY.items():
            topic = f"i{size}_{batch}"
            node.cli("topic", "create", topic)
            produced = counted("replay", node.kafka, topic, records // 40, size, batch)
            consumed = counted("wire", "consume", node.kafka, topic, records // 50)
            rows[name] = {"produce": produced, "consume": consumed}
            print(f"{name:<28} produce {produced:7.1f}, consume {consumed:7.1f} instructions a record", flush=True)
    finally:
        node.stop()
    return rows


def view(folder, runs):
    """From the moment a JSON record of 100 bytes is due to the changed row of a grouped view (1,000 keys, largest time of each) at a subscriber
    over HTTP; the same with the node's data in memory, where nothing waits for a disk: what durable epochs cost."""
    rows = {}
    with tempfile.TemporaryDirectory(prefix="millrace-bench-", dir="/dev/shm") as memory:
        nodes = {"on disk": Node(folder / "node"), "in memory": Node(pathlib.Path(memory) / "node")}
        try:
            for rate in (1000, 10_000, 100_000):
                for run in range(runs):
                    for where, node in nodes.items():
                        name = f"v{rate}_{run}"
                        with connect(node) as connection:
                            connection.execute(f"CREATE TOPIC {name}_in (key INTEGER, sent BIGINT, note VARCHAR) WITH (partitions = 2)")
                            connection.execute(f"CREATE MATERIALIZED VIEW {name} AS SELECT key, max(sent) AS sent, count(*) AS n FROM {name}_in GROUP BY key")
                            figure = measured(node, "view", node.kafka, f"{name}_in", 10, rate, 1000, node.http, name, "linger.ms=0")
                            connection.execute(f"DROP TOPIC {name}_in CASCADE")
                        rows.setdefault(f"{rate} {where}", []).append(figure)
                print(f"{rate:>7,}/s  " + "   ".join(
                    f"{where}: p50 {m['p50_ms']:.1f} p99 {m['p99_ms']:.1f} p99.9 {m['p999_ms']:.1f} ms, CPU {m['cpu_us']:.1f} us"
                    for where, m in ((where, medians(rows[f"{rate} {where}"])) for where in nodes)), flush=True)
        finally:
            for node in nodes.values():
                node.stop()
    return rows


def transform(folder, runs):
    """A filter on JSON records of 100 bytes that keeps half of them: in the node at produce and at fetch (bench/filter.wat), without it, as a
    pipeline, and as an application beside the node (librdkafka), both of which read one topic and write another; the pipeline exactly once, the
    application not. CPU is the node's and, beside it, the client's, for a record that came in."""
    records = 2_000_000
    node = Node(folder / "millrace")
    figures = {}

    def run(what, work):
        """`work` gives the seconds that it took."""
        touch_memory()
        node_before, clients_before = kafka_peer.cpu_seconds(node.pid), clients_cpu_seconds()
        seconds = work()
        figures.setdefault(what, []).append({"records_s": records / seconds, "cpu_us": (kafka_peer.cpu_seconds(node.pid) - node_before) / records * 1e6,
                                             "client_us": (clients_cpu_seconds() - clients_before) / records * 1e6})

    def run_wire(what, *arguments):
        run(what, lambda: wire(*arguments)["seconds"])

    def pipeline(connection, name, source, target):
        began = time.monotonic()
        connection.execute(f"CREATE TRANSFORM {name} FROM {source} INTO {target} USING keep.errors FROM BEGINNING")
        while connection.execute(f"SELECT records_in FROM millrace.transforms WHERE name = '{name}'").fetchone() != (records,):
            if time.monotonic() - began > 300:
                sys.exit("the pipeline did not catch up in 300 s")
            time.sleep(0.02)
        return time.monotonic() - began
    try:
        with connect(node) as connection:
            connection.execute(f"CREATE FUNCTION keep LANGUAGE wasm FROM '{ROOT / 'bench' / 'filter.wat'}'")
            for i in range(runs):
                plain, filtered, fetched, errors, kept = topics = [f"{name}_{i}" for name in ("plain", "filtered", "fetched", "errors", "kept")]
                for topic in topics:
                    connection.execute(f"CREATE TOPIC {topic}")
                connection.execute(f"ALTER TOPIC {filtered} ADD TRANSFORM keep.errors ON PRODUCE")
                connection.execute(f"ALTER TOPIC {fetched} ADD TRANSFORM keep.errors ON FETCH")
                wire("produce_json", node.kafka, fetched, records)
                run_wire("produce", "produce_json", node.kafka, plain, records)
                run_wire("produce through the filter", "produce_json", node.kafka, filtered, records)
                run_wire("consume", "consume", node.kafka, plain, records)
                run_wire("consume through the filter", "consume", node.kafka, fetched, records // 2)
                run_wire("application", "filter", node.kafka, plain, errors, records)
                run("pipeline", lambda: pipeline(connection, f"pipeline_{i}", plain, kept))
        middle = {what: medians(all_of) for what, all_of in figures.items()}
        for what, figure in middle.items():
            print(f"{what:<28} {figure['records_s']:>10,.0f} records/s  CPU {figure['cpu_us']:6.3f} us, the client's {figure['client_us']:6.3f} us", flush=True)
        print(f"filter at produce: {middle['produce through the filter']['records_s'] / middle['produce']['records_s']:.2f} of the throughput without; "
              f"filter at fetch: {middle['consume through the filter']['cpu_us'] - middle['consume']['cpu_us']:.3f} us more than without; "
              f"pipeline: {middle['pipeline']['records_s'] / middle['application']['records_s']:.2f} of the application's throughput", flush=True)
    finally:
        node.stop()
    return figures


def client(folder, runs):
    """The same filter in the client SDK (sdk/cpp/client), as its producer sends and as its consumer receives, and the SDK without it. CPU is the
    client's, a record that was sent, or that lies in the topic."""
    records = 2_000_000
    node = Node(folder / "millrace")
    figures = {}

    def run(what, mode, topic, comes, *transform):
        touch_memory()
        figure = run_client(WIRE.with_name("millrace_client_bench"), mode, node.kafka, node.http, topic, comes, *transform)
        figures.setdefault(what, []).append({"records_s": records / figure["seconds"], "cpu_us": figure["cpu_us"] * comes / records})
    try:
        with connect(node) as connection:
            connection.execute(f"CREATE FUNCTION keep LANGUAGE wasm FROM '{ROOT / 'bench' / 'filter.wat'}'")
            for i in range(runs):
                run("produce", "produce", f"plain_{i}", records)
                run("produce through the filter", "produce", f"filtered_{i}", records, "keep.errors")
                run("consume", "consume", f"plain_{i}", records)
                run("consume through the filter", "consume", f"plain_{i}", records // 2, "keep.errors")
        for what, all_of in figures.items():
            figure = medians(all_of)
            print(f"{what:<28} {figure['records_s']:>10,.0f} records/s  CPU {figure['cpu_us']:6.3f} us", flush=True)
    finally:
        node.stop()
    return figures


def spin(node, stop):
    """Produces what a guest never ends with, and after each what it does end with: a module that only fails would be paused."""
    producer = Producer({"bootstrap.servers": node.kafka, "linger.ms": 0})
    while not stop.is_set():
        for value in b"s", b"a":
            producer.produce("endless", value=value)
            producer.flush(60)


def hostile(folder, runs):
    """From when a record of 100 bytes is due to its arrival at a consumer, 2,000 a second, while four producers send records to another topic
    whose guest loops until its time slice ends; next to the same without them. On a topic that has no guest, and on one that has its own."""
    node = Node(folder / "node")
    figures = {}
    try:
        with connect(node) as connection:
            for function, source in ("steps", ROOT / "test" / "clients" / "steps.wat"), ("keep", ROOT / "bench" / "filter.wat"):
                connection.execute(f"CREATE FUNCTION {function} LANGUAGE wasm FROM '{source}'")
            connection.execute("CREATE TOPIC endless WITH (partitions = 4)")
            connection.execute("ALTER TOPIC endless ADD TRANSFORM steps.spin ON PRODUCE ON ERROR skip")
            for i in range(runs):
                for quiet in True, False:
                    stop = threading.Event()
                    producers = [threading.Thread(target=spin, args=(node, stop)) for _ in range(0 if quiet else 4)]
                    for each in producers:
                        each.start()
                    for kind in "plain", "guest":
                        topic = f"{kind}_{i}_{'quiet' if quiet else 'beside'}"
                        connection.execute(f"CREATE TOPIC {topic}")
                        if kind == "guest":
                            connection.execute(f"ALTER TOPIC {topic} ADD TRANSFORM keep.same ON PRODUCE")
                        figures.setdefault((kind, quiet), []).append(wire("latency", node.kafka, topic, 10, 2000, 100, "linger.ms=0"))
                    stop.set()
                    for each in producers:
                        each.join()
            batches = connection.execute("SELECT failed_batches FROM millrace.transforms WHERE topic = 'endless'").fetchone()[0]
        for kind in "plain", "guest":
            alone, beside = medians(figures[kind, True]), medians(figures[kind, False])
            print(f"{kind:<9} alone p50 {alone['p50_ms']:.2f} p99 {alone['p99_ms']:.2f} ms, beside endless loops p50 {beside['p50_ms']:.2f} "
                  f"p99 {beside['p99_ms']:.2f} ms  ratio of p99 {beside['p99_ms'] / alone['p99_ms']:.2f}", flush=True)
        print(f"{batches} batches looped until their time slice ended", flush=True)
    finally:
        node.stop()
    return {f"{kind} {'alone' if quiet else 'beside'}": all_of for (kind, quiet), all_of in figures.items()}


CASES = {"start": start, "flights": flights, "produce": produce, "paced": paced, "native": native, "replay": replay, "consume": consume, "latency": latency,
         "view": view, "transform": transform, "client": client, "hostile": hostile, "memory": memory, "restart": restart, "cost": cost, "instructions": instructions}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="all by default")
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
