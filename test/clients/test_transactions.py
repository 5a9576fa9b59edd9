"""Transactions through real clients: librdkafka, which speaks the first version of the protocol, and the Java client, which speaks
the second (KIP-890). What is told of a broker holds for Apache Kafka too: MILLRACE_TEST_TARGET=kafka."""
import collections
import itertools
import os
import pathlib
import random
import subprocess
import threading
import time
import uuid

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from draining import drain
from node import wait_until

LOAD = pathlib.Path(__file__).resolve().parent / "transactions" / "TransactionLoad.java"
ROUNDS = int(os.environ.get("MR_ROUNDS", 5))


@pytest.fixture
def topic(target):
    return make(target)


def make(target, partitions=3):
    name = f"t-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": target.kafka})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(60)
    return name


def transactional(target, name, **more):
    options = {"bootstrap.servers": target.kafka, "transactional.id": name, "reconnect.backoff.max.ms": 200, "socket.timeout.ms": 10000}
    producer = Producer(options | {key.replace("_", "."): value for key, value in more.items()})
    producer.init_transactions(60)
    return producer


def send(producer, topic, value, partitions=range(3)):
    for partition in partitions:
        producer.produce(topic, value, partition=partition)


def read(target, topic, partition, committed=True):
    """All values, up to where a reader of this isolation may read."""
    consumer = Consumer({"bootstrap.servers": target.kafka, "group.id": "none", "enable.auto.commit": False, "enable.partition.eof": True,
                         "isolation.level": "read_committed" if committed else "read_uncommitted"})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
    return [message.value().decode() for message in drain(consumer)]


def test_readers_of_committed_records_see_no_others(target, topic):
    producer = transactional(target, topic)
    producer.begin_transaction()
    send(producer, topic, "first")
    producer.flush()
    assert read(target, topic, 0) == []
    assert read(target, topic, 0, committed=False) == ["first"]
    producer.commit_transaction()
    assert [read(target, topic, p) for p in range(3)] == [["first"]] * 3
    producer.begin_transaction()
    send(producer, topic, "second")
    producer.flush()
    producer.abort_transaction()
    producer.begin_transaction()
    send(producer, topic, "third", [1])
    producer.commit_transaction()
    assert [read(target, topic, p) for p in range(3)] == [["first"], ["first", "third"], ["first"]]
    assert read(target, topic, 0, committed=False) == ["first", "second"]


def test_a_zombie_is_fenced(target, topic):
    zombie = transactional(target, topic)
    zombie.begin_transaction()
    send(zombie, topic, "zombie")
    zombie.flush()
    heir = transactional(target, topic)
    assert read(target, topic, 0) == []
    with pytest.raises(KafkaException) as refused:
        zombie.commit_transaction()
    assert refused.value.args[0].fatal()
    heir.begin_transaction()
    send(heir, topic, "heir")
    heir.commit_transaction()
    assert [read(target, topic, p) for p in range(3)] == [["heir"]] * 3


def test_offsets_are_committed_with_the_records(target, topic):
    source = make(target, 1)
    plain = Producer({"bootstrap.servers": target.kafka})
    for value in "abcd":
        plain.produce(source, value)
    plain.flush()
    group = f"g-{topic}"
    consumer = Consumer({"bootstrap.servers": target.kafka, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([source])
    messages = []
    wait_until(lambda: messages.extend(consumer.consume(10, 0.5)) or len(messages) == 4, what="the records")
    producer = transactional(target, topic)

    def step(offset, commit):
        producer.begin_transaction()
        send(producer, topic, str(offset))
        producer.send_offsets_to_transaction([TopicPartition(source, 0, offset)], consumer.consumer_group_metadata(), 30)
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
        return consumer.committed([TopicPartition(source, 0)], 30)[0].offset

    assert step(2, commit=True) == 2
    assert step(4, commit=False) == 2
    assert step(3, commit=True) == 3
    assert read(target, topic, 0) == ["2", "3"]
    consumer.close()


def test_a_transaction_past_its_timeout_is_aborted(target, topic):
    producer = transactional(target, topic, transaction_timeout_ms=3000, socket_timeout_ms=3000)
    producer.begin_transaction()
    send(producer, topic, "late")
    producer.flush()
    other = Producer({"bootstrap.servers": target.kafka})
    other.produce(topic, "other", partition=0)
    other.flush()
    assert read(target, topic, 0) == []
    wait_until(lambda: read(target, topic, 0) == ["other"], what="the abort")
    with pytest.raises(KafkaException):
        producer.commit_transaction()
    assert read(target, topic, 1) == []


def test_a_transaction_goes_on_after_a_restart(own_node):
    topic = make(own_node)
    producer = transactional(own_node, topic)
    producer.begin_transaction()
    send(producer, topic, "before")
    producer.flush()
    own_node.stop()
    own_node.start()
    send(producer, topic, "after")
    producer.commit_transaction(60)
    assert [read(own_node, topic, p) for p in range(3)] == [["before", "after"]] * 3


class Load(threading.Thread):
    """Transactions of one librdkafka producer, each of one value to every partition, until stopped; what became of each."""

    def __init__(self, node, topic, name):
        super().__init__(daemon=True)
        self.node, self.topic, self.name_, self.stopped = node, topic, name, False
        self.outcome = collections.OrderedDict()
        self.random = random.Random(name)
        self.failure = None

    def run(self):
        try:
            producer = transactional(self.node, self.name_)
            for number in itertools.count():
                if self.stopped:
                    return
                value = f"{self.name_}-{number}"
                self.outcome[value] = "unknown"
                producer = self.one(producer, value)
        except Exception as e:  # told by the test
            self.failure = e

    def one(self, producer, value):
        """Gives the producer to go on with."""
        commit = self.random.random() < 0.75
        try:
            producer.begin_transaction()
            send(producer, self.topic, value)
            while True:
                try:
                    (producer.commit_transaction if commit else producer.abort_transaction)(60)
                    self.outcome[value] = "committed" if commit else "aborted"
                    return producer
                except KafkaException as e:
                    if not e.args[0].retriable():
                        raise
        except KafkaException as e:
            if e.args[0].txn_requires_abort():
                try:
                    producer.abort_transaction(60)
                    self.outcome[value] = "aborted"
                    return producer
                except KafkaException:
                    pass
        return transactional(self.node, self.name_)


def kill_at_random(node, rounds):
    for _ in range(rounds):
        time.sleep(random.uniform(0.5, 2))
        node.kill()
        node.start()
    time.sleep(1)


def check_atomic(node, topic, outcome):
    """Each transaction is in all partitions or in none, once, and as its producer was told."""
    found = [read(node, topic, p) for p in range(3)]
    assert sorted(found[0]) == sorted(found[1]) == sorted(found[2])
    assert len(set(found[0])) == len(found[0])
    told = {state: {v for v, s in outcome.items() if s == state} for state in ("committed", "aborted", "unknown")}
    assert len(told["committed"]) > 10
    assert told["committed"] - set(found[0]) == set()
    assert told["aborted"] & set(found[0]) == set()
    assert set(found[0]) <= set(outcome)


def test_transactions_are_whole_or_absent_after_kills(own_node):
    topic = make(own_node)
    loads = [Load(own_node, topic, f"l{i}") for i in range(3)]
    for load in loads:
        load.start()
    kill_at_random(own_node, ROUNDS)
    for load in loads:
        load.stopped = True
    for load in loads:
        load.join(120)
        assert not load.is_alive() and load.failure is None, load.failure
    check_atomic(own_node, topic, {v: s for load in loads for v, s in load.outcome.items()})


def test_java_transactions_are_whole_or_absent_after_kills(own_node, kafka_libs, tmp_path):
    topic = make(own_node)
    subprocess.run(["javac", "-d", tmp_path, "-cp", f"{kafka_libs}/*", LOAD], check=True)
    command = ["java", "-Xmx256m", "-Dlog4j2.level=ERROR", "-cp", f"{tmp_path}:{kafka_libs}/*", "TransactionLoad", own_node.kafka, topic, "3"]
    with open(tmp_path / "stderr.txt", "w") as stderr:
        loads = [subprocess.Popen([*command, f"j{i}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True) for i in range(2)]
    outcome = {}

    def follow(load):
        for line in load.stdout:  # among lines of the client's log
            if line.startswith(("committed ", "aborted ", "unknown ")):
                state, value = line.split()
                outcome[value] = state

    followers = [threading.Thread(target=follow, args=[load], daemon=True) for load in loads]
    for follower in followers:
        follower.start()
    wait_until(lambda: len(outcome) > 10, what="the first transactions")
    kill_at_random(own_node, ROUNDS)
    for load, follower in zip(loads, followers):
        load.stdin.write("\n")
        load.stdin.flush()
        assert load.wait(120) == 0, (tmp_path / "stderr.txt").read_text()
        follower.join(30)
    check_atomic(own_node, topic, outcome)
