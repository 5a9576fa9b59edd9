#!/usr/bin/env python3
"""A year of flights through a Millrace node: Kafka in, live SQL answers out.

Starts a node, declares examples/flights/*.sql, loads the tables, replays all events of 2013 in event-time order with a
standard Kafka client, and shows what the views say while they change.
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import confluent_kafka
import psycopg

import events

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BINARY = ROOT / "build" / "millrace"
TOPIC = "flights"

LIVE = {
    "In the air": "SELECT airline, flights, departed, cancelled FROM in_the_air ORDER BY flights DESC, airline LIMIT 6",
    "Departure delays in the last hours, by origin": """
        SELECT origin, hour, departures, round(avg_delay, 1) AS avg_delay, max_delay FROM delays_by_hour
        ORDER BY hour DESC, origin LIMIT 6""",
    "The worst routes (at least 50 arrivals)": """
        SELECT airline, from_airport, to_airport, arrivals, round(avg_delay, 1) AS avg_delay, very_late FROM routes
        WHERE arrivals >= 50 ORDER BY avg_delay DESC LIMIT 6""",
    "Departure delays by weather": """
        SELECT weather, sum(departures)::BIGINT AS departures, round(sum(avg_delay * departures) / sum(departures), 1) AS avg_delay,
               round(100.0 * sum(late) / sum(departures), 1) AS percent_late
        FROM delay_by_weather GROUP BY weather ORDER BY avg_delay DESC""",
}


class Replay(threading.Thread):
    """Produces `source` to the topic; at full speed, or spread over `seconds`."""

    def __init__(self, address, source, seconds):
        super().__init__(daemon=True)
        self.source, self.seconds = source, seconds
        self.acked, self.failed, self.moment = 0, [], None
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": address, "acks": "all", "enable.idempotence": True, "linger.ms": 5,
            "queue.buffering.max.messages": 200_000, "batch.size": 262_144, "log_level": 2})

    def on_delivery(self, error, _message):
        if error:
            self.failed.append(str(error))
        else:
            self.acked += 1

    def run(self):
        began = time.monotonic()
        for number, (self.moment, key, value) in enumerate(self.source):
            if self.seconds and number % 500 == 0:
                ahead = number / len(self.source) * self.seconds - (time.monotonic() - began)
                if ahead > 0:
                    self.producer.poll(ahead)
            while True:
                try:
                    self.producer.produce(TOPIC, key=key, value=value, on_delivery=self.on_delivery)
                    break
                except BufferError:
                    self.producer.poll(0.05)
            if number % 1000 == 0:
                self.producer.poll(0)
        self.producer.flush(120)
        self.seconds_taken = time.monotonic() - began


def say(text):
    print(f"\033[1m==>\033[0m {text}" if sys.stdout.isatty() else f"==> {text}", flush=True)


def cli(data, *arguments):
    subprocess.run([BINARY, *arguments, "--data", data], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def start_node(data):
    log = open(data.with_name(data.name + ".log"), "ab")
    node = subprocess.Popen([BINARY, "serve", "--data", data, "--kafka", "127.0.0.1:0", "--pg", "127.0.0.1:0", "--http", "127.0.0.1:0"],
                            cwd=ROOT, stdout=log, stderr=log)
    while not (data / "node.json").exists():
        if node.poll() is not None:
            sys.exit(f"the node did not start; its log is {log.name}")
        time.sleep(0.01)
    return node, json.loads((data / "node.json").read_text())


def table(connection, statement):
    cursor = connection.execute(statement)
    rows = [[c.name for c in cursor.description]] + [["" if v is None else f"{v:%Y-%m-%d %H:%M}" if hasattr(v, "strftime") else str(v) for v in row] for row in cursor]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    numeric = [all(row[i].replace(".", "", 1).replace("-", "", 1).isdigit() or not row[i] for row in rows[1:]) for i in range(len(widths))]
    lines = ["  ".join(cell.rjust(w) if n else cell.ljust(w) for cell, w, n in zip(row, widths, numeric)).rstrip() for row in rows]
    return lines


def progress(replay, seconds):
    part = replay.acked / len(replay.source)
    width = 40
    bar = "█" * int(part * width) + "░" * (width - int(part * width))
    when = f"{replay.moment:%Y-%m-%d %H:%M}" if replay.moment else "-"
    return f"{bar} {part:4.0%}  {replay.acked:>7,} events  {replay.acked / max(seconds, 1e-9):>9,.0f}/s  {when} UTC"


def show(connection, replay, began):
    lines = ["\033[1mMillrace: every flight that left New York in 2013\033[0m", progress(replay, time.monotonic() - began), ""]
    for title, statement in LIVE.items():
        lines += [f"\033[1m{title}\033[0m", *table(connection, statement), ""]
    height = shutil.get_terminal_size().lines
    print("\033[H\033[J" + "\n".join(lines[:height - 1]), flush=True)


def watch(connection, replay):
    """Refreshes the screen until all is acked; on no terminal, prints a line now and then."""
    began, screen, told = time.monotonic(), sys.stdout.isatty(), 0
    while replay.is_alive():
        if screen:
            show(connection, replay, began)
            time.sleep(0.2)
        else:
            if time.monotonic() - told > 1:
                air = connection.execute("SELECT coalesce(sum(flights), 0)::BIGINT FROM in_the_air").fetchone()[0]
                print(f"{progress(replay, time.monotonic() - began)}  {air:,} in the air", flush=True)
                told = time.monotonic()
            time.sleep(0.1)
    if screen:
        show(connection, replay, began)
    return began


def wait_for_views(connection, departures):
    """Until the views hold the whole year: the last link of the longest chain is delay_by_weather, a view on a view."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        got = connection.execute("SELECT coalesce(sum(departures), 0)::BIGINT FROM delay_by_weather").fetchone()[0]
        hours = connection.execute("SELECT coalesce(sum(departures), 0)::BIGINT FROM delays_by_hour").fetchone()[0]
        air = connection.execute("SELECT coalesce(sum(departed), 0)::BIGINT, coalesce(sum(flights), 0)::BIGINT FROM in_the_air").fetchone()
        if got == hours == departures and air == (departures, 0):
            return
        time.sleep(0.01)
    sys.exit("the views did not catch up in five minutes")


def memory_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def summary(connection, node, replay, total_seconds, at, data):
    print()
    for title, statement in LIVE.items():
        print("\n".join([title, *("  " + line for line in table(connection, statement)), ""]))
    host, port = at["pg"].split(":")
    print(f"""{len(replay.source):,} events: acknowledged after {replay.seconds_taken:.1f} s, in all five views after {total_seconds:.1f} s
({len(replay.source) / total_seconds:,.0f} events/s from producer to view); the node uses {memory_mb(node.pid):,.0f} MB

Ask it yourself:  psql -h {host} -p {port} -U me millrace
                  build/millrace sql --data {data} -c "SELECT * FROM routes ORDER BY avg_delay DESC LIMIT 10"
                  kcat -b {at["kafka"]} -C -t flights -o -5 -e
Metrics:          curl http://{at["http"]}/metrics""", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="exit at the end instead of keeping the node up")
    parser.add_argument("--seconds", type=float, default=0, help="spread the year over this time; 0 is full speed")
    parser.add_argument("--data", type=pathlib.Path, help="the node's folder; by default a fresh one, removed at the end")
    arguments = parser.parse_args()
    folder = tempfile.TemporaryDirectory(prefix="millrace-demo-")
    data = arguments.data or pathlib.Path(folder.name) / "data"
    data.mkdir(parents=True, exist_ok=True)

    say("reading the year's events")
    source = events.all_events()
    departures = sum(b'"departed"' in value for _, _, value in source)
    say("starting a node")
    node, at = start_node(data)
    try:
        say("declaring tables, topic and views: millrace apply examples/flights")
        subprocess.run([BINARY, "apply", "--data", data, "examples/flights"], cwd=ROOT, check=True)
        say("loading carriers, airports, planes and weather")
        cli(data, "sql", "-f", "examples/flights/load/tables.sql")
        host, port = at["pg"].split(":")
        with psycopg.connect(host=host, port=port, user="demo", dbname="millrace", autocommit=True) as connection:
            say(f"replaying {len(source):,} events")
            replay = Replay(at["kafka"], source, arguments.seconds)
            replay.start()
            began = watch(connection, replay)
            if replay.failed:
                sys.exit(f"{len(replay.failed)} events were refused: {replay.failed[0]}")
            wait_for_views(connection, departures)
            summary(connection, node, replay, time.monotonic() - began, at, data)
        if not arguments.once:
            print("\nThe node stays up; Ctrl-C stops it.", flush=True)
            node.wait()
    except KeyboardInterrupt:
        print()
    except subprocess.CalledProcessError as failure:
        sys.exit(f"this failed: {' '.join(map(str, failure.cmd))}")
    finally:
        if node.poll() is None:
            node.terminate()
            node.wait(60)
    if node.returncode != 0:
        sys.exit(f"the node ended with {node.returncode}")


if __name__ == "__main__":
    main()
