"""Consumer groups of the classic protocol: members through librdkafka, administration through it and through Kafka's own tools."""
import itertools
import subprocess
import sys
import threading

import pytest
from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from node import wait_until

_numbers = itertools.count()


@pytest.fixture
def name():
    """Of a topic and a group that no other test has."""
    return f"groups-{next(_numbers)}"


def admin_of(node):
    return AdminClient({"bootstrap.servers": node.kafka})


def create(node, topic, partitions):
    admin = admin_of(node)  # must outlive what it was asked for
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)


def produce(node, topic, values):
    """Acked when it returns."""
    failed = []
    producer = Producer({"bootstrap.servers": node.kafka, "linger.ms": 1})
    for value in values:
        producer.produce(topic, key=str(value), value=str(value), on_delivery=lambda error, _: error and failed.append(error))
        producer.poll(0)
    assert producer.flush(60) == 0 and not failed


class Member:
    """One consumer of a group, polled by a thread of its own, which keeps what it read and was assigned."""

    def __init__(self, node, group, topic, **config):
        self.read, self.assigned, self.assignments = [], set(), 0
        self.cooperative = config.get("partition.assignment.strategy") == "cooperative-sticky"
        self.consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": group, "auto.offset.reset": "earliest",
                                  "enable.auto.commit": False, "session.timeout.ms": 6000, "heartbeat.interval.ms": 300, **config})
        self.consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)
        self._ending = False
        self._to_commit, self._committed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _on_assign(self, _, partitions):
        self.assignments += 1
        new = {p.partition for p in partitions}
        self.assigned = self.assigned | new if self.cooperative else new

    def _on_revoke(self, _, partitions):
        try:
            self.consumer.commit(asynchronous=False)
        except KafkaException:
            pass  # nothing to commit, or no longer allowed to
        self.assigned = self.assigned - {p.partition for p in partitions}

    def _run(self):
        while not self._ending:
            if self._to_commit.is_set():
                self._to_commit.clear()
                self.consumer.commit(asynchronous=False)
                self._committed.set()
            message = self.consumer.poll(0.05)
            if message and not message.error():
                self.read.append(int(message.value()))

    def commit(self):
        """Commits what was read, on the thread that polls: librdkafka does not take it from another at the same time."""
        self._committed.clear()
        self._to_commit.set()
        assert self._committed.wait(60), "the commit is not acked"

    def close(self):
        self._ending = True
        self._thread.join()
        self.consumer.close()

    def abandon(self):
        """Polls no more and says nothing."""
        self._ending = True
        self._thread.join()


def committed(node, group, topic, partitions):
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": group})
    found = consumer.committed([TopicPartition(topic, p) for p in range(partitions)], timeout=30)
    consumer.close()
    return [p.offset for p in found]


def commit(node, group, *offsets):
    """As a client that uses the group for its offsets alone."""
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=list(offsets), asynchronous=False)
    consumer.close()


def describe(node, group):
    admin = admin_of(node)
    return admin.describe_consumer_groups([group])[group].result(30)


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_members_share_the_partitions_while_records_come(node, name, strategy):
    create(node, name, 4)
    first = Member(node, name, name, **{"partition.assignment.strategy": strategy})
    wait_until(lambda: len(first.assigned) == 4, what="one member has all")
    produced = threading.Thread(target=lambda: [produce(node, name, range(n, n + 100)) for n in range(0, 2000, 100)])
    produced.start()
    second = Member(node, name, name, **{"partition.assignment.strategy": strategy})
    wait_until(lambda: len(first.assigned) == 2 and len(second.assigned) == 2, what="two members have half each")
    assert not first.assigned & second.assigned
    produced.join()
    wait_until(lambda: set(first.read) | set(second.read) == set(range(2000)), what="all was read")
    second.close()
    wait_until(lambda: len(first.assigned) == 4, what="the one who stays has all")
    produce(node, name, range(2000, 2100))
    wait_until(lambda: set(range(2000, 2100)) <= set(first.read), what="the rest was read")
    first.close()
    group = describe(node, name)
    assert group.state == ConsumerGroupState.EMPTY


def test_a_member_that_no_longer_polls_is_out(node, name):
    create(node, name, 2)
    first = Member(node, name, name)
    # librdkafka leaves for an application that has not polled for so long.
    second = Member(node, name, name, **{"max.poll.interval.ms": 6000})
    wait_until(lambda: len(first.assigned) == 1 and len(second.assigned) == 1, what="each has one")
    second.abandon()
    wait_until(lambda: len(first.assigned) == 2, what="the other has all")
    assert len(describe(node, name).members) == 1
    first.close()
    second.consumer.close()


def test_a_member_that_is_killed_is_out_after_its_session(node, name):
    create(node, name, 2)
    first = Member(node, name, name)
    program = f"""
from confluent_kafka import Consumer
consumer = Consumer({{"bootstrap.servers": "{node.kafka}", "group.id": "{name}", "session.timeout.ms": 6000}})
consumer.subscribe(["{name}"])
while True:
    consumer.poll(0.1)
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        wait_until(lambda: len(first.assigned) == 1 and len(describe(node, name).members) == 2, what="each has one")
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: len(first.assigned) == 2, what="the other has all")
    first.close()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_members_and_offsets_outlive_the_node(own_node, end):
    create(own_node, "t", 3)
    first, second = Member(own_node, "g", "t"), Member(own_node, "g", "t")
    wait_until(lambda: len(first.assigned | second.assigned) == 3, what="both have some")
    produce(own_node, "t", range(300))
    wait_until(lambda: len(first.read) + len(second.read) == 300, what="all was read")
    for member in (first, second):
        member.commit()
    acked = committed(own_node, "g", "t", 3)
    assert sum(acked) == 300
    members = {m.member_id for m in describe(own_node, "g").members}
    assignments = first.assignments + second.assignments
    getattr(own_node, end)()
    own_node.start()
    produce(own_node, "t", range(300, 600))
    wait_until(lambda: set(first.read) | set(second.read) == set(range(600)), what="they went on")
    assert committed(own_node, "g", "t", 3) == acked
    # The same members in the same generation: nobody noticed but for the connection.
    assert {m.member_id for m in describe(own_node, "g").members} == members
    assert first.assignments + second.assignments == assignments
    assert len(first.read) + len(second.read) == 600
    for member in (first, second):
        member.commit()
        member.close()
    assert sum(committed(own_node, "g", "t", 3)) == 600


def test_acked_commits_survive_kills(own_node):
    create(own_node, "t", 1)
    for round_ in range(3):
        consumer = Consumer({"bootstrap.servers": own_node.kafka, "group.id": "g", "enable.auto.commit": False})
        acked, done = [], threading.Event()

        def commit_on(consumer=consumer, acked=acked, done=done, base=round_ * 100_000):
            offset = base
            while not done.is_set():
                offset += 1
                try:
                    consumer.commit(offsets=[TopicPartition("t", 0, offset)], asynchronous=False)
                except KafkaException:
                    continue
                acked.append(offset)

        thread = threading.Thread(target=commit_on)
        thread.start()
        wait_until(lambda acked=acked: len(acked) > 20, what="some commits are acked")
        own_node.kill()
        last = len(acked) and acked[-1]
        done.set()
        own_node.start()
        thread.join()
        kept = committed(own_node, "g", "t", 1)[0]
        # What was acked before the kill is kept; one more may have been on its way.
        assert kept >= last, (kept, last)
        consumer.close()


def test_a_static_member_comes_back_without_a_rebalance(node, name):
    create(node, name, 2)
    first = Member(node, name, name, **{"group.instance.id": "one", "session.timeout.ms": 30000})
    second = Member(node, name, name, **{"group.instance.id": "two", "session.timeout.ms": 30000})
    wait_until(lambda: len(first.assigned) == 1 and len(second.assigned) == 1, what="each has one")
    had, assignments = set(second.assigned), first.assignments
    second.close()  # a static member does not leave
    second = Member(node, name, name, **{"group.instance.id": "two", "session.timeout.ms": 30000})
    wait_until(lambda: second.assigned == had, what="the second has what it had")
    assert first.assignments == assignments
    assert {m.group_instance_id for m in describe(node, name).members} == {"one", "two"}

    # Another process with the same instance id takes its place.
    third = Member(node, name, name, **{"group.instance.id": "two", "session.timeout.ms": 30000})
    wait_until(lambda: third.assigned == had, what="the third has what the second had")
    assert first.assignments == assignments
    second.abandon()
    third.close()
    first.close()


def test_administration(node, name):
    create(node, name, 2)
    produce(node, name, range(10))
    member = Member(node, name, name)
    wait_until(lambda: len(member.read) == 10, what="all was read")
    member.commit()
    admin = admin_of(node)

    listed = {g.group_id: g for g in admin.list_consumer_groups().result(30).valid}
    assert listed[name].state == ConsumerGroupState.STABLE and not listed[name].is_simple_consumer_group
    only_empty = admin.list_consumer_groups(states={ConsumerGroupState.EMPTY}).result(30).valid
    assert name not in {g.group_id for g in only_empty}
    group = describe(node, name)
    assert group.state == ConsumerGroupState.STABLE and group.partition_assignor == "range"
    assert group.members[0].host == "/127.0.0.1" and group.members[0].client_id == "rdkafka"
    assert {p.partition for p in group.members[0].assignment.topic_partitions} == {0, 1}

    offsets = admin.list_consumer_group_offsets([_group(name)])[name].result(30).topic_partitions
    assert sum(p.offset for p in offsets) == 10
    with pytest.raises(KafkaException) as refused:
        admin.delete_consumer_groups([name])[name].result(30)
    assert refused.value.args[0].code() == KafkaError.NON_EMPTY_GROUP
    member.close()
    wait_until(lambda: describe(node, name).state == ConsumerGroupState.EMPTY, what="the group is empty")

    admin.alter_consumer_group_offsets([_group(name, TopicPartition(name, 0, 1), TopicPartition(name, 1, 2))])[name].result(30)
    assert committed(node, name, name, 2) == [1, 2]
    admin.delete_consumer_groups([name])[name].result(30)
    assert committed(node, name, name, 2) == [-1001, -1001]
    with pytest.raises(KafkaException) as refused:
        admin.delete_consumer_groups([name])[name].result(30)
    assert refused.value.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND


def _group(group, *offsets):
    from confluent_kafka import ConsumerGroupTopicPartitions
    return ConsumerGroupTopicPartitions(group, list(offsets) or None)


def test_a_client_without_membership_keeps_offsets(node, name):
    create(node, name, 2)
    commit(node, name, TopicPartition(name, 0, 7, "where I was"), TopicPartition(name, 1, 8))
    assert committed(node, name, name, 2) == [7, 8]
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": name})
    assert consumer.committed([TopicPartition(name, 0)], timeout=30)[0].metadata == "where I was"
    with pytest.raises(KafkaException) as refused:
        consumer.commit(offsets=[TopicPartition(name, 0, 9, "x" * 4097)], asynchronous=False)
    assert refused.value.args[0].code() == KafkaError.OFFSET_METADATA_TOO_LARGE
    consumer.close()
    assert committed(node, name, name, 2) == [7, 8]


def groups_tool(kafka_libs, node, *arguments):
    done = subprocess.run(["java", "-Xmx256m", "-cp", f"{kafka_libs}/*", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
                           "--bootstrap-server", node.kafka, *arguments], text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(text):
    """The tables that the tool prints, as rows of cells."""
    return [line.split() for line in text.splitlines() if line.strip()]


def test_kafka_consumer_groups_tool(node, name, kafka_libs):
    create(node, name, 2)
    produce(node, name, range(10))
    member = Member(node, name, name)
    wait_until(lambda: len(member.read) == 10, what="all was read")
    member.commit()
    produce(node, name, range(10, 15))
    wait_until(lambda: len(member.read) == 15, what="more was read")
    table = rows(groups_tool(kafka_libs, node, "--describe", "--group", name))
    columns = table[0]
    lags = [int(row[columns.index("LAG")]) for row in table[1:]]
    assert sum(lags) == 5, table
    assert {row[columns.index("HOST")] for row in table[1:]} == {"/127.0.0.1"}
    state = rows(groups_tool(kafka_libs, node, "--describe", "--group", name, "--state"))
    assert "Stable" in state[1] and "range" in state[1], state
    assert any(row[:1] == [name] and "Stable" in row for row in rows(groups_tool(kafka_libs, node, "--list", "--state")))
    member.close()
    wait_until(lambda: describe(node, name).state == ConsumerGroupState.EMPTY, what="the group is empty")
    groups_tool(kafka_libs, node, "--reset-offsets", "--group", name, "--topic", name, "--to-earliest", "--execute")
    assert committed(node, name, name, 2) == [0, 0]
    groups_tool(kafka_libs, node, "--delete-offsets", "--group", name, "--topic", f"{name}:1")
    assert committed(node, name, name, 2) == [0, -1001]
    groups_tool(kafka_libs, node, "--delete", "--group", name)
    assert committed(node, name, name, 2) == [-1001, -1001]
