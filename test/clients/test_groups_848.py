"""Groups of the consumer protocol (KIP-848) where the node is restarted, where members are, and as Kafka's tools show them. What
holds while nothing fails is in the suites."""
import collections
import itertools
import subprocess
import threading

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from node import wait_until

_numbers = itertools.count()


@pytest.fixture
def topic():
    return f"groups-848-{next(_numbers)}"


def create(node, name, partitions):
    admin = AdminClient({"bootstrap.servers": node.kafka})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)


def members_of(node, group):
    """{member id: its partitions} as the group describes itself."""
    admin = AdminClient({"bootstrap.servers": node.kafka})
    described = admin.describe_consumer_groups([group])[group].result(30)
    return {m.member_id: sorted(p.partition for p in m.assignment.topic_partitions) for m in described.members}


class Member(threading.Thread):
    """A consumer that commits each record once it has processed it, and tells what it did."""

    def __init__(self, node, group, topic, **config):
        super().__init__(daemon=True)
        self.consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": group, "group.protocol": "consumer",
                                  "auto.offset.reset": "earliest", "enable.auto.commit": False, **config})
        self.processed = collections.Counter()
        self.unsure = set()  # processed, and whether the commit was heard is not known
        self.assigned, self.assignments = [], 0
        self.stopping = False
        self.consumer.subscribe([topic], on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_revoke)
        self.start()

    def on_assign(self, _, partitions):
        self.assignments += 1
        self.assigned = sorted({*self.assigned, *(p.partition for p in partitions)})

    def on_revoke(self, _, partitions):
        self.assigned = [p for p in self.assigned if p not in {q.partition for q in partitions}]

    def run(self):
        while not self.stopping:
            message = self.consumer.poll(0.1)
            if message is None or message.error():
                continue
            place = (message.partition(), message.offset())
            self.processed[place] += 1
            try:
                self.consumer.commit(message, asynchronous=False)
            except KafkaException:
                self.unsure.add(place)
        self.consumer.close()

    def stop(self):
        self.stopping = True
        self.join(60)
        assert not self.is_alive()


class Load(threading.Thread):
    """Produces all the time, through any restart; every record is acked in the end."""

    def __init__(self, node, topic):
        super().__init__(daemon=True)
        self.producer = Producer({"bootstrap.servers": node.kafka, "linger.ms": 5, "enable.idempotence": True})
        self.topic, self.acked, self.failed, self.stopping = topic, set(), [], False
        self.start()

    def delivered(self, error, message):
        if error:
            self.failed.append(str(error))
        else:
            self.acked.add((message.partition(), message.offset()))

    def run(self):
        for number in itertools.count():
            if self.stopping:
                break
            self.producer.produce(self.topic, key=str(number), value=str(number), on_delivery=self.delivered)
            self.producer.poll(0.002)

    def stop(self):
        self.stopping = True
        self.join(60)
        assert self.producer.flush(120) == 0
        assert not self.failed, self.failed[0]


def check_all_processed(load, *members):
    wait_until(lambda: load.acked <= set().union(*(m.processed for m in members)), 120, "all records to be processed")
    for member in members:
        member.stop()
    total = sum((m.processed for m in members), collections.Counter())
    unsure = set().union(*(m.unsure for m in members))
    doubled = {place for place, times in total.items() if times > 1}
    assert doubled <= unsure, sorted(doubled - unsure)[:10]


def test_members_come_and_go_while_records_are_produced(node, topic):
    create(node, topic, 6)
    load = Load(node, topic)
    first = Member(node, topic, topic)
    wait_until(lambda: len(first.assigned) == 6, what="the first member to have all")
    second = Member(node, topic, topic)
    wait_until(lambda: len(first.assigned) == len(second.assigned) == 3, what="two to share")
    third = Member(node, topic, topic)
    wait_until(lambda: len(first.assigned) == len(second.assigned) == len(third.assigned) == 2, what="three to share")
    assert sorted(first.assigned + second.assigned + third.assigned) == list(range(6))
    first.stop()
    wait_until(lambda: len(second.assigned) == len(third.assigned) == 3, what="two to share again")
    load.stop()
    wait_until(lambda: load.acked <= {*first.processed, *second.processed, *third.processed}, 120, "all records to be processed")
    check_all_processed(load, second, third, first)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_members_go_on_over_a_restart_of_the_node(own_node, topic, how):
    create(own_node, topic, 4)
    load = Load(own_node, topic)
    members = [Member(own_node, topic, topic), Member(own_node, topic, topic)]
    wait_until(lambda: [len(m.assigned) for m in members] == [2, 2], what="two to share")
    wait_until(lambda: all(m.processed for m in members), what="both to process")
    before = wait_until(lambda: (m := members_of(own_node, topic)) and sorted(map(len, m.values())) == [2, 2] and m)
    assignments = [m.assignments for m in members]
    for _ in range(2):
        getattr(own_node, how)()
        own_node.start()
        done = len(load.acked)
        wait_until(lambda: len(load.acked) > done + 50, 120, "the producer to go on")
    # The same members with the same partitions, and none has been told to begin anew.
    assert members_of(own_node, topic) == before
    load.stop()
    check_all_processed(load, *members)
    assert [m.assignments for m in members] == assignments


def test_a_static_member_comes_back_to_its_partitions(node, topic):
    create(node, topic, 4)
    stays = Member(node, topic, topic, **{"group.instance.id": "stays"})
    leaves = Member(node, topic, topic, **{"group.instance.id": "leaves"})
    wait_until(lambda: len(stays.assigned) == len(leaves.assigned) == 2, what="two to share")
    had, assignments = leaves.assigned[:], stays.assignments
    leaves.stop()
    back = Member(node, topic, topic, **{"group.instance.id": "leaves"})
    wait_until(lambda: back.assigned, what="the member to be back")
    assert back.assigned == had
    assert stays.assignments == assignments
    back.stop()
    stays.stop()


def test_a_pattern_takes_in_topics_that_come_later(node, topic):
    create(node, f"{topic}-a", 1)
    consumer = Consumer({"bootstrap.servers": node.kafka, "group.id": topic, "group.protocol": "consumer",
                         "auto.offset.reset": "earliest", "topic.metadata.refresh.interval.ms": 500})
    consumer.subscribe([f"^{topic}-.*"])
    wait_until(lambda: consumer.poll(0.1) is None and {p.topic for p in consumer.assignment()} == {f"{topic}-a"})
    create(node, f"{topic}-b", 2)
    producer = Producer({"bootstrap.servers": node.kafka})
    producer.produce(f"{topic}-b", b"late", partition=1)
    assert producer.flush(30) == 0
    message = wait_until(lambda: consumer.poll(0.5), 60, "the record of the later topic")
    assert message.value() == b"late"
    consumer.close()


def test_kafkas_tools_describe_the_group(node, topic, kafka_libs):
    create(node, topic, 2)
    producer = Producer({"bootstrap.servers": node.kafka})
    for number in range(10):
        producer.produce(topic, str(number), partition=number % 2)
    assert producer.flush(30) == 0
    member = Member(node, topic, topic, **{"client.id": "the-client"})
    wait_until(lambda: len(member.processed) == 10, what="all to be processed")

    def tool(*arguments):
        return subprocess.run(["java", "-Xmx256m", "-cp", f"{kafka_libs}/*", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
                               "--bootstrap-server", node.kafka, *arguments], text=True, capture_output=True, timeout=120, check=True).stdout

    listed = tool("--list", "--type")
    assert any(line.split() == [topic, "Consumer"] for line in listed.splitlines()), listed
    offsets = [line.split() for line in tool("--describe", "--group", topic).splitlines() if "the-client" in line]
    assert sorted(line[1:6] for line in offsets) == [[topic, "0", "5", "5", "0"], [topic, "1", "5", "5", "0"]]
    state = tool("--describe", "--group", topic, "--state", "--verbose")
    assert "uniform" in state and "Stable" in state, state
    assert "the-client" in tool("--describe", "--group", topic, "--members", "--verbose")
    member.stop()
    assert "Empty" in tool("--describe", "--group", topic, "--state")
    assert "successful" in tool("--delete", "--group", topic)


def test_committed_positions_outlive_the_members(own_node, topic):
    create(own_node, topic, 1)
    load = Load(own_node, topic)
    member = Member(own_node, topic, topic)
    wait_until(lambda: len(member.processed) > 20, what="some to be processed")
    member.stop()
    own_node.kill()
    own_node.start()
    asks = Consumer({"bootstrap.servers": own_node.kafka, "group.id": topic, "group.protocol": "consumer"})
    position = asks.committed([TopicPartition(topic, 0)], 30)[0].offset
    asks.close()
    assert position == len(member.processed)
    after = Member(own_node, topic, topic)
    load.stop()
    wait_until(lambda: load.acked <= {*member.processed, *after.processed}, 120, "all records to be processed")
    after.stop()
    assert not set(member.processed) & set(after.processed)
