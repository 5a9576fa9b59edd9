"""Kafka Connect: two distributed workers with exactly-once sources, from a file through a topic into a file; one of them is killed."""
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from node import wait_until


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Worker:
    """A worker as a process of its own."""

    def __init__(self, bootstrap, name, folder, libs):
        self.url = f"http://127.0.0.1:{free_port()}"
        self.address = self.url.removeprefix("http://")
        self.log = folder / f"worker-{self.address.split(':')[1]}.log"
        properties = self.log.with_suffix(".properties")
        properties.write_text(f"""bootstrap.servers={bootstrap}
group.id={name}-workers
config.storage.topic={name}-configs
offset.storage.topic={name}-offsets
status.storage.topic={name}-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=2
status.storage.partitions=2
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
exactly.once.source.support=enabled
offset.flush.interval.ms=500
scheduled.rebalance.max.delay.ms=0
session.timeout.ms=6000
heartbeat.interval.ms=1000
consumer.isolation.level=read_committed
plugin.discovery=only_scan
listeners={self.url}
""")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=ERROR", "-cp", f"{libs}/*",
                 "org.apache.kafka.connect.cli.ConnectDistributed", properties], stdout=log, stderr=log)

    def ask(self, path, body=None):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body else None, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def answers(self):
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return self.ask("/connectors") is not None
        except (urllib.error.URLError, OSError):
            return False

    def tell(self, path, body):
        """POST, until no rebalance is in the way (409)."""
        def told():
            try:
                return self.ask(path, body)
            except urllib.error.HTTPError as error:
                assert error.code in (409, 500), error.read()
                return None
        return wait_until(told, what=f"{path} {body['name']}")

    def task_of(self, connector):
        """(state, the worker) of a connector's task."""
        try:
            tasks = self.ask(f"/connectors/{connector}/status")["tasks"]
        except (urllib.error.URLError, OSError):
            return None
        assert all(t["state"] != "FAILED" for t in tasks), tasks
        return (tasks[0]["state"], tasks[0]["worker_id"]) if tasks else None

    def kill(self):
        self.process.kill()
        self.process.wait()


def read_committed(bootstrap, topic):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "isolation.level": "read_committed", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values = []
    while True:
        message = consumer.poll(30)
        assert message is not None, "the end did not come"
        if message.error():
            break
        values.append(message.value().decode())
    consumer.close()
    return values


@pytest.fixture
def workers(target, tmp_path, kafka_libs):
    name = f"connect-{free_port()}"
    admin = AdminClient({"bootstrap.servers": target.kafka})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
    first = Worker(target.kafka, name, tmp_path, kafka_libs)
    started = [first]
    try:
        wait_until(first.answers, 90, "the first worker")
        started.append(Worker(target.kafka, name, tmp_path, kafka_libs))
        wait_until(started[1].answers, 90, "the second worker")
        yield name, started
    finally:
        for worker in started:
            worker.kill()


def test_lines_of_a_file_come_exactly_once_though_a_worker_is_killed(target, workers, tmp_path):
    topic, both = workers
    source, sink = tmp_path / "in.txt", tmp_path / "out.txt"
    written = []

    def write(count):
        for _ in range(count // 25):  # in pieces, so that there are many polls, and with each a transaction
            lines = [f"line {len(written) + i}" for i in range(25)]
            with source.open("a") as file:
                file.writelines(line + "\n" for line in lines)
            written.extend(lines)
            time.sleep(0.02)

    def seen():
        return sink.read_text().splitlines() if sink.exists() else []

    write(500)
    both[0].tell("/connectors", {"name": "source", "config": {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector", "tasks.max": "1", "file": str(source), "topic": topic,
        "exactly.once.support": "required", "transaction.boundary": "poll"}})
    both[0].tell("/connectors", {"name": "sink", "config": {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector", "tasks.max": "1", "file": str(sink), "topics": topic}})
    wait_until(lambda: seen() == written, 90, "the first lines")

    state = wait_until(lambda: both[0].task_of("source"), what="the source's state")
    victim = next(w for w in both if w.address == state[1])
    heir = next(w for w in both if w is not victim)
    write(500)
    victim.kill()
    write(500)
    wait_until(lambda: heir.task_of("source") == ("RUNNING", heir.address), 90, "the source on the other worker")
    write(500)
    wait_until(lambda: set(seen()) == set(written), 90, "all lines")
    assert read_committed(target.kafka, topic) == written, "each line once, in order"
