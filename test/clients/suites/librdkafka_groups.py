"""Cases of suite_librdkafka.py: groups, by both protocols."""
import subprocess
import sys
import threading
import time

from confluent_kafka import OFFSET_INVALID, Consumer, ConsumerGroupType, KafkaError, KafkaException, Producer, TopicPartition
from harness import case, expect, wait_until
from librdkafka_clients import WAIT, admin_of, create, produce, consumer_of, consumer_848, take

# ---- groups


class Member(threading.Thread):
    """Polls in a thread of its own until left(); commits what it saw when it is revoked, now and then, and when it leaves."""

    def __init__(self, t, consumer, topics=None):
        super().__init__()
        self.consumer, self.messages, self.assigned, self.failure = consumer, [], set(), None
        self.leaving = threading.Event()
        self.incremental = None
        consumer.subscribe(topics or [t.topic], on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_lost)
        self.start()

    def on_assign(self, consumer, partitions):
        self.assigned = self.assigned | {(p.topic, p.partition) for p in partitions}

    def on_revoke(self, consumer, partitions):
        self.commit()
        self.on_lost(consumer, partitions)

    def on_lost(self, consumer, partitions):
        self.assigned = self.assigned - {(p.topic, p.partition) for p in partitions}

    def commit(self):
        try:
            self.consumer.commit(asynchronous=False)
        except KafkaException as error:  # a rebalance is under way: then the next one reads those records once more
            allowed = (KafkaError._NO_OFFSET, KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID,
                       KafkaError.STALE_MEMBER_EPOCH)
            if error.args[0].code() not in allowed:
                raise

    def run(self):
        try:
            since = time.monotonic()
            while not self.leaving.is_set():
                message = self.consumer.poll(0.1)
                if message is not None:
                    if message.error():
                        raise KafkaException(message.error())
                    self.messages.append(message)
                if time.monotonic() - since > 0.5:
                    self.commit()
                    since = time.monotonic()
        except BaseException as error:
            self.failure = error
        finally:
            self.consumer.close()

    def left(self):
        self.leaving.set()
        self.join(WAIT)
        if self.failure:
            raise self.failure


def shares(members, sizes):
    """Whether the members own that many partitions each (in any order), none of them twice."""
    for member in members:
        if member.failure:
            raise member.failure
    owned = [p for m in members for p in m.assigned]
    return sorted(len(m.assigned) for m in members) == sorted(sizes) and len(owned) == len(set(owned))


def second_member(t, make):
    create(t, 6)
    first = Member(t, make(t))
    wait_until(lambda: shares([first], [6]), WAIT, "the first member's assignment")
    second = Member(t, make(t))
    wait_until(lambda: shares([first, second], [3, 3]), WAIT, "the assignment of both")
    produce(t, [(i % 6, None, str(i)) for i in range(600)])
    wait_until(lambda: len(first.messages) + len(second.messages) >= 600, WAIT, "all messages")
    first.left()
    wait_until(lambda: shares([second], [6]), WAIT, "the whole assignment of the one that stays")
    produce(t, [(i % 6, None, str(i)) for i in range(600, 1200)])
    wait_until(lambda: {int(m.value()) for m in first.messages + second.messages} == set(range(1200)), WAIT, "all messages")
    second.left()


def rebalance_while_producing(t, make):
    """Members come and go while a producer goes on; no record is lost and none comes out of order."""
    create(t, 6)
    stop, produced, errors = threading.Event(), [0], []

    def pump():
        producer = Producer({"bootstrap.servers": t.bootstrap, "enable.idempotence": True, "linger.ms": 5})
        while not stop.is_set():
            for _ in range(20):
                producer.produce(t.topic, str(produced[0]), partition=produced[0] % 6, on_delivery=lambda e, m: e and errors.append(e))
                produced[0] += 1
            producer.poll(0.02)
        producer.flush(WAIT)

    pumping = threading.Thread(target=pump)
    pumping.start()
    members = [Member(t, make(t))]
    try:
        wait_until(lambda: shares(members, [6]), WAIT, "the first assignment")
        members.append(Member(t, make(t)))
        wait_until(lambda: shares(members, [3, 3]), WAIT, "the assignment of two")
        members.append(Member(t, make(t)))
        wait_until(lambda: shares(members, [2, 2, 2]), WAIT, "the assignment of three")
        members[0].left()
        wait_until(lambda: shares(members[1:], [3, 3]), WAIT, "the assignment of the two that stay")
        members[1].left()
        wait_until(lambda: shares(members[2:], [6]), WAIT, "the assignment of the one that stays")
    finally:
        stop.set()
        pumping.join()
    expect(errors, [], "delivery errors")
    everything = set(range(produced[0]))
    wait_until(lambda: {int(x.value()) for m in members for x in m.messages} == everything, WAIT, f"all of {produced[0]} messages")
    members[2].left()
    consumer = consumer_of(t)
    committed = consumer.committed([TopicPartition(t.topic, p) for p in range(6)], timeout=WAIT)
    expect(sum(p.offset for p in committed), produced[0], "committed offsets")
    consumer.close()


def eager(t):
    return consumer_of(t, **{"partition.assignment.strategy": "range,roundrobin"})


def cooperative(t):
    return consumer_of(t, **{"partition.assignment.strategy": "cooperative-sticky"})


@case
def group_second_member_eager(t):
    second_member(t, eager)


@case
def group_second_member_cooperative(t):
    second_member(t, cooperative)


@case
def rebalance_while_producing_eager(t):
    rebalance_while_producing(t, eager)


@case
def rebalance_while_producing_cooperative(t):
    rebalance_while_producing(t, cooperative)


@case
def static_members(t):
    """A static member that comes back gets what it had, and the other one notices nothing."""
    create(t, 4)

    def member(name):
        return Member(t, consumer_of(t, **{"group.instance.id": name, "session.timeout.ms": 20000}))

    one, two = member("one"), member("two")
    wait_until(lambda: shares([one, two], [2, 2]), WAIT, "the assignment")
    had, others = one.assigned, two.assigned
    one.left()
    again = member("one")
    wait_until(lambda: again.assigned, WAIT, "the assignment of the one that came back")
    expect(again.assigned, had, "its partitions")
    expect(two.assigned, others, "the other one's partitions")
    admin = admin_of(t)
    described = admin.describe_consumer_groups([t.group])[t.group].result(WAIT)
    expect({m.group_instance_id for m in described.members}, {"one", "two"}, "instance ids")
    again.left()
    two.left()


@case
def second_with_a_static_id_fences_the_first(t):
    create(t, 1)
    first = consumer_of(t, **{"group.instance.id": "same"})
    first.subscribe([t.topic])
    produce(t, [(0, None, "x")])
    take(first, 1)
    second = consumer_of(t, **{"group.instance.id": "same"})
    second.subscribe([t.topic])
    take(second, 1)

    def fenced():
        message = first.poll(0.2)
        return message is not None and message.error() and message.error().code() in (KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL)

    wait_until(fenced, WAIT, "the fencing of the first")
    first.close()
    second.close()


@case
def dead_member_is_noticed(t):
    """A member that stops without a word loses its partitions after its session timeout."""
    create(t, 2)
    script = ("import sys; from confluent_kafka import Consumer\n"
              "c = Consumer({'bootstrap.servers': sys.argv[1], 'group.id': sys.argv[2], 'session.timeout.ms': 6000})\n"
              "c.subscribe([sys.argv[3]], on_assign=lambda c, p: print(len(p), flush=True))\n"
              "while True: c.poll(1)\n")
    victim = subprocess.Popen([sys.executable, "-c", script, t.bootstrap, t.group, t.topic], stdout=subprocess.PIPE, text=True)
    try:
        expect(victim.stdout.readline().strip(), "2", "partitions of the one that will be killed")
    finally:
        victim.kill()
        victim.wait()
        victim.stdout.close()
    heir = Member(t, consumer_of(t))
    wait_until(lambda: shares([heir], [2]), 60, "the heir's assignment")
    heir.left()


@case
def commit_and_resume(t):
    create(t, 2)
    produce(t, [(i % 2, None, str(i)) for i in range(200)])
    first = consumer_of(t)
    first.subscribe([t.topic])
    seen = take(first, 100)
    first.commit(asynchronous=False)
    first.close()
    second = consumer_of(t)
    second.subscribe([t.topic])
    seen += take(second, 100)
    expect(sorted(int(m.value()) for m in seen), list(range(200)), "each once")
    second.commit(asynchronous=False)
    expect([p.offset for p in second.committed([TopicPartition(t.topic, 0), TopicPartition(t.topic, 1)], timeout=WAIT)], [100, 100], "committed")
    expect(second.poll(1), None, "a message too many")
    second.close()


@case
def commit_keeps_metadata(t):
    create(t)
    consumer = consumer_of(t)
    consumer.commit(offsets=[TopicPartition(t.topic, 0, 42, metadata="where I was")], asynchronous=False)
    found = consumer.committed([TopicPartition(t.topic, 0)], timeout=WAIT)[0]
    expect((found.offset, found.metadata), (42, "where I was"), "committed")
    consumer.close()
    never = consumer_of(t, **{"group.id": t.group + "-never"})
    expect(never.committed([TopicPartition(t.topic, 0)], timeout=WAIT)[0].offset, OFFSET_INVALID, "committed by none")
    never.close()


@case
def seek_and_pause(t):
    create(t, 2)
    produce(t, [(i % 2, None, str(i)) for i in range(100)])
    consumer = consumer_of(t)
    consumer.subscribe([t.topic])
    take(consumer, 100)
    consumer.seek(TopicPartition(t.topic, 0, 48))
    expect([m.offset() for m in take(consumer, 2)], [48, 49], "after the seek")
    consumer.pause([TopicPartition(t.topic, 0)])
    produce(t, [(0, None, "paused"), (1, None, "goes on")])
    expect(take(consumer, 1)[0].value(), b"goes on", "while the other is paused")
    expect(consumer.poll(1), None, "from a paused partition")
    consumer.resume([TopicPartition(t.topic, 0)])
    expect(take(consumer, 1)[0].value(), b"paused", "after resume")
    consumer.close()


@case
def offset_reset(t):
    create(t)
    produce(t, [(0, None, str(i)) for i in range(10)])
    latest = consumer_of(t, **{"auto.offset.reset": "latest"})
    ready = threading.Event()
    latest.subscribe([t.topic], on_assign=lambda c, p: ready.set())
    wait_until(lambda: latest.poll(0.2) is None and ready.is_set() and latest.position([TopicPartition(t.topic, 0)])[0].offset in (10, OFFSET_INVALID),
               WAIT, "the assignment")
    wait_until(lambda: produce(t, [(0, None, "new")]) and latest.poll(1), WAIT, "a new message")
    latest.close()
    error = consumer_of(t, **{"auto.offset.reset": "error", "group.id": t.group + "-error"})
    error.subscribe([t.topic])
    found = wait_until(lambda: error.poll(0.5), WAIT, "the error")
    expect(found.error().code(), KafkaError._AUTO_OFFSET_RESET, "error")
    error.close()


# ---- the consumer protocol (KIP-848)


@case
def kip848_second_member(t):
    second_member(t, consumer_848)
    admin = admin_of(t)
    group = admin.describe_consumer_groups([t.group])[t.group].result(WAIT)
    expect(group.type, ConsumerGroupType.CONSUMER, "type of the group")


@case
def kip848_rebalance_while_producing(t):
    rebalance_while_producing(t, consumer_848)


@case
def kip848_remote_assignor(t):
    create(t, 5)
    members = [Member(t, consumer_848(t, **{"group.remote.assignor": "range"})) for _ in range(2)]
    wait_until(lambda: shares(members, [3, 2]), WAIT, "the assignment")
    first = max(members, key=lambda m: len(m.assigned))
    expect(sorted(p for _, p in first.assigned), [0, 1, 2], "a range")
    for member in members:
        member.left()


@case
def kip848_regex(t):
    create(t, 2, t.topic + "-one")
    create(t, 1, t.topic + "-other")
    member = Member(t, consumer_848(t, **{"topic.metadata.refresh.interval.ms": 500}), [f"^{t.topic}-o.e$"])
    wait_until(lambda: member.assigned == {(t.topic + "-one", 0), (t.topic + "-one", 1)}, WAIT, "the topic that matches")
    create(t, 1, t.topic + "-ole")
    wait_until(lambda: (t.topic + "-ole", 0) in member.assigned, 60, "a topic that matches and came later")
    produce(t, [(0, None, "hello")], t.topic + "-ole")
    wait_until(lambda: [m.value() for m in member.messages] == [b"hello"], WAIT, "its record")
    member.left()


@case
def kip848_static_member(t):
    create(t, 2)
    first = Member(t, consumer_848(t, **{"group.instance.id": "one"}))
    wait_until(lambda: shares([first], [2]), WAIT, "the assignment")
    first.left()
    again = Member(t, consumer_848(t, **{"group.instance.id": "one"}))
    wait_until(lambda: shares([again], [2]), WAIT, "the assignment of the one that came back")
    again.left()
