"""Share groups (KIP-932) through the Java client's KafkaShareConsumer. Every expectation but those of the dead letters and of
deliver_at, which are ours, holds against Apache Kafka 4.3.1: SHARE_BOOTSTRAP=HOST:PORT runs this file against a broker that runs."""
import itertools
import os
import pathlib
import queue
import subprocess
import threading
import time
import types
import urllib.request

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from node import wait_until

HERE = pathlib.Path(__file__).resolve().parent
PEER = os.environ.get("SHARE_BOOTSTRAP")
ours = pytest.mark.skipif(PEER is not None, reason="Millrace's own")
_numbers = itertools.count()
_run = int(time.time())


@pytest.fixture(scope="module")
def share_node(request):
    return types.SimpleNamespace(kafka=PEER) if PEER else request.getfixturevalue("node")


@pytest.fixture(scope="session")
def client(tmp_path_factory, kafka_libs):
    """The compiled ShareClient: client(node, verb, ...) starts it."""
    classes = tmp_path_factory.mktemp("share")
    subprocess.run(["javac", "-d", classes, "-cp", f"{kafka_libs}/*", HERE / "share" / "ShareClient.java"], check=True)

    def run(node, verb, *arguments):
        return Client(["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}:{kafka_libs}/*", "ShareClient", verb, node.kafka,
                       *map(str, arguments)])
    return run


class Client:
    """A running ShareClient; its lines as they come."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if not os.environ.get("SHARE_TRACE") else None, text=True)
        self.lines, self.seen = queue.Queue(), []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.split())
        self.lines.put(None)

    def until(self, word, seconds=90):
        """Reads on until a line begins with `word`; gives it."""
        end = time.monotonic() + seconds
        while True:
            line = self.lines.get(timeout=max(0.1, end - time.monotonic()))
            assert line is not None, f"ended before '{word}': {self.seen}"
            self.seen.append(line)
            if line[0] == word:
                return line

    def finish(self):
        self.until("done")
        assert self.process.wait(60) == 0
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def of(self, word):
        return [line[1:] for line in self.seen if line[0] == word]

    @property
    def records(self):
        """(offset, deliveries, value)"""
        return [(int(offset), int(count), value) for _, offset, count, value in self.of("record")]


@pytest.fixture
def topic():
    return f"share-{_run}-{next(_numbers)}"


def create(node, name, partitions=1, **config):
    admin = AdminClient({"bootstrap.servers": node.kafka})
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(30)


def produce(node, name, values, headers=None):
    producer = Producer({"bootstrap.servers": node.kafka, "linger.ms": 5})
    for value in values:
        producer.produce(name, value=value, headers=headers, partition=0)
    assert producer.flush(60) == 0


def read_all(node, name, count):
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])
    found, end = [], time.monotonic() + 60
    while len(found) < count and time.monotonic() < end:
        message = consumer.poll(1)
        if message and not message.error():
            found.append(message)
    consumer.close()
    return found


def describe(client, node, group):
    """The finished description; empty while there is no such group."""
    described = client(node, "describe", group)
    described.process.wait(90)
    while (line := described.lines.get(timeout=10)) is not None:
        described.seen.append(line)
    return described


def begin_at_start(client, node, group):
    client(node, "group", group, "share.auto.offset.reset=earliest").finish()


def test_accepts_each_record_once(client, share_node, topic):
    create(share_node, topic)
    begin_at_start(client, share_node, topic)
    values = [f"v{i}" for i in range(1000)]
    produce(share_node, topic, values)
    first = client(share_node, "consume", topic, topic, 1000, 90, "accept").finish()
    assert [value for _, _, value in first.records] == values
    assert {count for _, count, _ in first.records} == {1}
    produce(share_node, topic, ["last"])
    second = client(share_node, "consume", topic, topic, 1, 90, "accept").finish()
    assert second.records == [(1000, 1, "last")]


def test_begins_at_the_end_unless_told_otherwise(client, share_node, topic):
    create(share_node, topic)
    produce(share_node, topic, ["before"])
    consumer = client(share_node, "consume", topic, topic, 1, 90, "accept")
    consumer.until("ready")
    # When the group begins is not for others to see: something is produced until it has.
    for number in itertools.count():
        produce(share_node, topic, [f"after{number}"])
        try:
            consumer.until("record", seconds=2)
            break
        except queue.Empty:
            assert number < 60
    assert consumer.records[0][2].startswith("after")


def test_releases_until_the_limit(client, share_node, topic):
    create(share_node, topic)
    begin_at_start(client, share_node, topic)
    produce(share_node, topic, ["a", "b"])
    released = client(share_node, "consume", topic, topic, 10, 90, "release").finish()
    assert sorted(released.records) == [(o, n, v) for o, v in ((0, "a"), (1, "b")) for n in range(1, 6)]
    produce(share_node, topic, ["c"])
    assert client(share_node, "consume", topic, topic, 1, 90, "accept").finish().records == [(2, 1, "c")]


@ours
def test_counts_what_is_given_and_acknowledged(client, share_node, topic):
    def counted():
        text = urllib.request.urlopen(f"http://{share_node.http}/metrics").read().decode()
        names = ("acquired_total", "redelivered_total", 'acknowledged_total{type="release"}')
        return [next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"millrace_broker_share_{name} ")) for name in names]

    create(share_node, topic)
    begin_at_start(client, share_node, topic)
    produce(share_node, topic, ["a", "b"])
    before = counted()
    client(share_node, "consume", topic, topic, 10, 90, "release").finish()
    assert [now - was for now, was in zip(counted(), before)] == [10, 8, 10]


def test_rejects(client, share_node, topic):
    create(share_node, topic)
    begin_at_start(client, share_node, topic)
    produce(share_node, topic, ["bad"])
    client(share_node, "consume", topic, topic, 1, 90, "reject").finish()
    produce(share_node, topic, ["good"])
    assert client(share_node, "consume", topic, topic, 1, 90, "accept").finish().records == [(1, 1, "good")]


def test_passes_over_what_is_aborted_when_told_to(client, share_node, topic):
    create(share_node, topic)
    client(share_node, "group", topic, "share.auto.offset.reset=by_duration:PT1H").finish()
    client(share_node, "group", topic, "share.isolation.level=read_committed").finish()
    producer = Producer({"bootstrap.servers": share_node.kafka, "transactional.id": topic})
    producer.init_transactions(60)
    for value, end in (("dropped", producer.abort_transaction), ("kept", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(60)
        end(60)
    consumed = client(share_node, "consume", topic, topic, 1, 90, "accept").finish()
    assert [value for _, _, value in consumed.records] == ["kept"]


def test_renews_a_lock(client, share_node, topic):
    create(share_node, topic)
    begin_at_start(client, share_node, topic)
    produce(share_node, topic, ["long"])
    renewed = client(share_node, "consume", topic, topic, 2, 90, "renew").finish()
    assert renewed.of("failed") == []
    assert renewed.of("acknowledged") == [["0", "0"]]


def test_gives_what_a_killed_consumer_held_to_another(client, share_node, topic):
    create(share_node, topic)
    begin_at_start(client, share_node, topic)
    values = [f"v{i}" for i in range(10)]
    produce(share_node, topic, values)
    holder = client(share_node, "consume", topic, topic, 10, 90, "hold")
    holder.until("holding")
    holder.kill()
    heir = client(share_node, "consume", topic, topic, 10, 90, "accept").finish()
    assert [value for _, _, value in heir.records] == values


def test_two_consumers_share_a_partition(client, share_node, topic):
    create(share_node, topic)
    begin_at_start(client, share_node, topic)
    both = [client(share_node, "consume", topic, topic, 100_000, 30, "accept", "max.poll.records=50") for _ in range(2)]
    for consumer in both:
        consumer.until("ready")
    wait_until(lambda: len(describe(client, share_node, topic).of("member")) == 2, what="both are members")
    values = [f"v{i}" for i in range(4000)]
    for begin in range(0, len(values), 400):
        produce(share_node, topic, values[begin:begin + 400])
        time.sleep(0.2)
    for consumer in both:
        consumer.finish()
    taken = [offset for consumer in both for _, offset in consumer.of("acknowledged")]
    assert len(taken) == len(set(taken)) == len(values)
    if not PEER:  # Kafka may give a short stream to one of them
        assert all(consumer.records for consumer in both)


def test_describes_lists_and_deletes(client, share_node, topic):
    create(share_node, topic, partitions=3)
    begin_at_start(client, share_node, topic)
    produce(share_node, topic, ["a", "b"])
    consumer = client(share_node, "consume", topic, topic, 2, 90, "hold")
    consumer.until("holding")
    described = client(share_node, "describe", topic).finish()
    assert described.of("state") == [["Stable"]]
    assert len(described.of("member")) == 1
    assert described.of("listed")[0][0] == "Share"
    consumer.kill()

    def empty():
        return client(share_node, "describe", topic).finish().of("state") == [["Empty"]]
    wait_until(empty, seconds=120, what="the member is removed")
    client(share_node, "alter", topic, topic, 0, 1).finish()
    assert client(share_node, "consume", topic, topic, 1, 90, "accept").finish().records == [(1, 1, "b")]
    wait_until(empty, what="the member has left")
    client(share_node, "delete", topic).finish()


@ours
def test_what_was_accepted_never_comes_again_and_what_was_held_does(client, own_node, topic):
    node = own_node
    create(node, topic)
    begin_at_start(client, node, topic)
    values = [f"v{i}" for i in range(20)]
    produce(node, topic, values[:10])
    client(node, "consume", topic, topic, 10, 90, "accept").finish()
    produce(node, topic, values[10:])
    holder = client(node, "consume", topic, topic, 10, 90, "hold")
    holder.until("holding")
    node.kill()
    holder.kill()
    node.start()
    heir = client(node, "consume", topic, topic, 10, 90, "none").finish()
    assert heir.records == [(offset, 2, values[offset]) for offset in range(10, 20)]
    node.stop()
    node.start()
    last = client(node, "consume", topic, topic, 10, 90, "accept").finish()
    assert [value for _, _, value in last.records] == values[10:]


@ours
def test_given_up_records_are_dead_letters(client, share_node, topic):
    create(share_node, topic)
    begin_at_start(client, share_node, topic)
    produce(share_node, topic, ["spent"], headers={"kind": "x"})
    client(share_node, "consume", topic, topic, 5, 90, "release").finish()
    produce(share_node, topic, ["bad"])
    client(share_node, "consume", topic, topic, 1, 90, "reject").finish()
    spent, bad = read_all(share_node, f"{topic}.dead_letter", 2)
    assert (spent.value(), bad.value()) == (b"spent", b"bad")
    headers = dict(spent.headers())
    assert headers["topic"] == topic.encode() and headers["group"] == topic.encode()
    assert (headers["partition"], headers["offset"], headers["delivery_count"], headers["kind"]) == (b"0", b"0", b"5", b"x")
    assert dict(bad.headers())["reason"] == b"rejected by a consumer"


@ours
def test_delivers_at_the_time_that_a_record_says(client, share_node, topic):
    create(share_node, topic, **{"delayed.delivery": "true"})
    begin_at_start(client, share_node, topic)
    due = time.time() + 12
    produce(share_node, topic, ["later"], headers={"deliver_at": str(int(due * 1000))})
    produce(share_node, topic, ["now"])
    consumer = client(share_node, "consume", topic, topic, 2, 90, "accept")
    consumer.until("record")
    assert time.time() < due and consumer.records == [(1, 1, "now")]
    consumer.finish()
    assert time.time() >= due and consumer.records[1] == (0, 1, "later")
