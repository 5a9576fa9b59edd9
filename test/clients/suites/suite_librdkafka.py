"""librdkafka 2.x through confluent-kafka: suite_librdkafka.py BOOTSTRAP [CASE...]"""
import subprocess
import sys
import threading
import time

from confluent_kafka import (OFFSET_BEGINNING, OFFSET_END, OFFSET_INVALID, Consumer, ConsumerGroupState, ConsumerGroupTopicPartitions,
                             ConsumerGroupType, IsolationLevel, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec)
from harness import CASES, CODECS, case, expect, main, wait_until

WAIT = 40
COMMITTED = {"isolation.level": "read_committed"}


def admin_of(t):
    return AdminClient({"bootstrap.servers": t.bootstrap})


def create(t, partitions=1, name=None, **config):
    name = name or t.topic
    admin = admin_of(t)
    admin.create_topics([NewTopic(name, partitions, 1, config={k.replace("_", "."): v for k, v in config.items()})])[name].result(WAIT)
    return admin


def produce(t, records, topic=None, **config):
    """Produces (partition, key, value[, headers[, timestamp]]), all acked; gives the messages as delivered."""
    delivered, errors = [], []
    producer = Producer({"bootstrap.servers": t.bootstrap, "linger.ms": 5, "message.max.bytes": 1_000_000, **config})
    for partition, key, value, *more in records:
        headers = more[0] if more else None
        timestamp = {"timestamp": more[1]} if len(more) > 1 else {}
        while True:
            try:
                producer.produce(topic or t.topic, value, key, partition, headers=headers, **timestamp,
                                 on_delivery=lambda e, m: errors.append(e) if e else delivered.append(m))
                break
            except BufferError:
                producer.poll(0.05)
    expect(producer.flush(60), 0, "left in the queue")
    expect(errors, [], "delivery errors")
    return delivered


def consumer_of(t, **config):
    return Consumer({"bootstrap.servers": t.bootstrap, "group.id": t.group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
                     "session.timeout.ms": 6000, "heartbeat.interval.ms": 300, **config})


def consumer_848(t, **config):
    return Consumer({"bootstrap.servers": t.bootstrap, "group.id": t.group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
                     "group.protocol": "consumer", **config})


def take(consumer, count, seconds=WAIT, timeout=0.2):
    """Polls until `count` messages came."""
    messages, end = [], time.monotonic() + seconds
    while len(messages) < count:
        message = consumer.poll(timeout)
        if message is not None:
            if message.error():
                raise KafkaException(message.error())
            messages.append(message)
        elif time.monotonic() > end:
            raise AssertionError(f"{len(messages)} of {count} messages after {seconds} s")
    return messages


def read_all(t, partitions=1, topic=None, start=OFFSET_BEGINNING, **config):
    """Reads by assign(), without a group, to the end of each partition."""
    consumer = consumer_of(t, **{"enable.partition.eof": True, **config})
    consumer.assign([TopicPartition(topic or t.topic, p, start) for p in range(partitions)])
    messages, ended, end = [], set(), time.monotonic() + WAIT
    while len(ended) < partitions:
        message = consumer.poll(1)
        if message is None:
            assert time.monotonic() < end, f"the ends of {partitions - len(ended)} partitions did not come"
        elif message.error():
            expect(message.error().code(), KafkaError._PARTITION_EOF, message.error())
            ended.add(message.partition())
        else:
            messages.append(message)
    consumer.close()
    return messages


def refused(future, code):
    try:
        future.result(WAIT)
    except KafkaException as refusal:
        expect(refusal.args[0].name(), KafkaError(code).name(), refusal)
        return refusal.args[0]
    raise AssertionError(f"not refused with {KafkaError(code).name()}")


# ---- produce and consume


@case
def order_and_counts(t):
    create(t, 4)
    produce(t, [(i % 4, str(i), f"value {i}") for i in range(8000)])
    messages = read_all(t, 4)
    expect(len(messages), 8000, "messages")
    for partition in range(4):
        mine = [m for m in messages if m.partition() == partition]
        expect([m.offset() for m in mine], list(range(2000)), "offsets")
        expect([int(m.key()) for m in mine], list(range(partition, 8000, 4)), "order")
        assert all(m.value() == b"value " + m.key() for m in mine)


@case
def codecs(t):
    create(t, 1)
    wanted = []
    for codec in CODECS:
        values = [f"{codec} {i} ".encode() * 20 for i in range(500)]
        produce(t, [(0, None, v) for v in values], **{"compression.type": codec})
        wanted += values
    expect([m.value() for m in read_all(t)], wanted, "values")


@case
def headers(t):
    create(t)
    wanted = [("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None), ("bytes", bytes(range(256)))]
    produce(t, [(0, "k", "v", wanted), (0, "k", "none")])
    with_headers, without = read_all(t)
    expect(with_headers.headers(), wanted, "headers")
    assert not without.headers()


@case
def timestamps(t):
    create(t)
    base = 1_700_000_000_000
    produce(t, [(0, None, str(i), None, base + i * 1000) for i in range(10)])
    produce(t, [(0, None, "now")])
    expect([m.timestamp() for m in read_all(t)[:10]], [(1, base + i * 1000) for i in range(10)], "CreateTime")
    consumer = consumer_of(t)
    found = consumer.offsets_for_times([TopicPartition(t.topic, 0, base + 4500)], timeout=WAIT)[0]
    expect(found.offset, 5, "offset for a time between")
    found = consumer.offsets_for_times([TopicPartition(t.topic, 0, int(time.time() * 1000) + 10**9)], timeout=WAIT)[0]
    expect(found.offset, OFFSET_END, "offset for a time after all")
    consumer.close()


@case
def log_append_time(t):
    create(t, message_timestamp_type="LogAppendTime")
    produce(t, [(0, None, "x", None, 1_700_000_000_000)])
    kind, at = read_all(t)[0].timestamp()
    expect(kind, 2, "kind of the timestamp")
    assert abs(at - time.time() * 1000) < 600_000


@case
def null_and_empty(t):
    create(t)
    pairs = [(None, None), (b"", None), (None, b""), (b"", b""), (b"k", None), (None, b"v")]
    produce(t, [(0, k, v) for k, v in pairs])
    expect([(m.key(), m.value()) for m in read_all(t)], pairs, "pairs")


@case
def large_records(t):
    create(t)
    values = [bytes([i]) * 900_000 for i in range(5)]
    produce(t, [(0, None, v) for v in values])
    expect([m.value() == v for m, v in zip(read_all(t), values)], [True] * 5, "values")


@case
def idempotent_producer(t):
    create(t, 3)
    delivered = produce(t, [(i % 3, None, str(i)) for i in range(9000)], **{"enable.idempotence": True})
    for partition in range(3):
        expect([m.offset() for m in delivered if m.partition() == partition], list(range(3000)), "offsets")
    expect(sorted(int(m.value()) for m in read_all(t, 3)), list(range(9000)), "values")


@case
def unknown_partition_is_refused(t):
    create(t)
    errors = []
    producer = Producer({"bootstrap.servers": t.bootstrap, "message.timeout.ms": 20000})
    producer.produce(t.topic, "x", partition=7, on_delivery=lambda e, m: errors.append(e))
    producer.flush(WAIT)
    expect(errors[0].code(), KafkaError._UNKNOWN_PARTITION, "error")


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


# ---- transactions


def transactional(t, **config):
    producer = Producer({"bootstrap.servers": t.bootstrap, "transactional.id": t.transactional_id, "linger.ms": 2, **config})
    producer.init_transactions(WAIT)
    return producer


def values(messages):
    return [m.value().decode() for m in messages]


def read_committed(t, count, partitions=1, topic=None):
    """What is committed, once it is `count` messages: the broker ends a transaction by and by after it has said so."""
    wait_until(lambda: len(read_all(t, partitions, topic, **COMMITTED)) >= count, WAIT, f"{count} committed messages")
    return values(read_all(t, partitions, topic, **COMMITTED))


@case
def transaction_commit_and_abort(t):
    create(t, 2)
    producer = transactional(t)
    for number, commit in enumerate([True, False, True]):
        producer.begin_transaction()
        for i in range(10):
            producer.produce(t.topic, f"{number}.{i}", partition=i % 2)
        if commit:
            producer.commit_transaction(WAIT)
        else:
            producer.flush(WAIT)  # so that the records are in the log
            producer.abort_transaction(WAIT)
    committed = sorted(f"{n}.{i}" for n in (0, 2) for i in range(10))
    expect(sorted(read_committed(t, 20, 2)), committed, "read_committed")
    expect(sorted(values(read_all(t, 2, **{"isolation.level": "read_uncommitted"}))),
           sorted(committed + [f"1.{i}" for i in range(10)]), "read_uncommitted")


@case
def open_transaction_holds_readers_back(t):
    create(t)
    producer = transactional(t)
    producer.begin_transaction()
    producer.produce(t.topic, "open", partition=0)
    producer.flush(WAIT)
    produce(t, [(0, None, "after")])
    expect(values(read_all(t, **COMMITTED)), [], "read_committed while it is open")
    expect(values(read_all(t, **{"isolation.level": "read_uncommitted"})), ["open", "after"], "read_uncommitted")
    admin, at = admin_of(t), TopicPartition(t.topic, 0)
    for isolation, wanted in ((IsolationLevel.READ_UNCOMMITTED, 2), (IsolationLevel.READ_COMMITTED, 0)):
        end = admin.list_offsets({at: OffsetSpec.latest()}, isolation_level=isolation)[at].result(WAIT)
        expect(end.offset, wanted, isolation)
    producer.commit_transaction(WAIT)
    expect(read_committed(t, 2), ["open", "after"], "read_committed after")


@case
def second_producer_fences_the_first(t):
    create(t)
    zombie = transactional(t)
    zombie.begin_transaction()
    zombie.produce(t.topic, "zombie", partition=0)
    zombie.flush(WAIT)
    heir = transactional(t)  # aborts what the zombie had open
    try:
        zombie.produce(t.topic, "zombie again", partition=0)
        zombie.commit_transaction(WAIT)
        raise AssertionError("the zombie was not fenced")
    except KafkaException as error:
        assert error.args[0].fatal() or error.args[0].txn_requires_abort(), error
        assert error.args[0].code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH), error
    heir.begin_transaction()
    heir.produce(t.topic, "heir", partition=0)
    heir.commit_transaction(WAIT)
    expect(read_committed(t, 1), ["heir"], "read_committed")


@case
def consume_transform_produce(t):
    """Offsets are committed with the records they led to: a crash between is neither a loss nor a double."""
    create(t, 2)
    create(t, 2, t.topic + "-out")
    produce(t, [(i % 2, None, str(i)) for i in range(200)])
    done, attempt = 0, 0
    while done < 200:
        attempt += 1
        consumer = consumer_of(t, **COMMITTED)
        consumer.subscribe([t.topic])
        producer = transactional(t)
        for round_number in range(3):
            batch = take(consumer, 20)
            producer.begin_transaction()
            for message in batch:
                producer.produce(t.topic + "-out", b"done " + message.value(), partition=message.partition())
            producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata(), WAIT)
            if round_number == 2 and attempt < 4:  # the third round of the first attempts is lost with its producer
                producer.abort_transaction(WAIT)
                break
            producer.commit_transaction(WAIT)
            done += len(batch)
            if done == 200:
                break
        consumer.close()
    expect(sorted(read_committed(t, 200, 2, t.topic + "-out")), sorted(f"done {i}" for i in range(200)), "output")
    left = consumer_of(t, **COMMITTED)
    expect(sum(p.offset for p in left.committed([TopicPartition(t.topic, p) for p in range(2)], timeout=WAIT)), 200, "committed offsets")
    left.close()


@case
def stale_group_metadata_is_fenced(t):
    """KIP-447: a member that is no longer in the group cannot commit offsets through its transaction."""
    create(t, 1)
    produce(t, [(0, None, "x")])
    consumer = consumer_of(t)
    consumer.subscribe([t.topic])
    take(consumer, 1)
    metadata, offsets = consumer.consumer_group_metadata(), consumer.position(consumer.assignment())
    consumer.close()
    producer = transactional(t)
    producer.begin_transaction()
    try:
        producer.send_offsets_to_transaction(offsets, metadata, WAIT)
        raise AssertionError("stale metadata was taken")
    except KafkaException as error:
        assert error.args[0].code() in (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION), error
        assert error.args[0].txn_requires_abort(), error
    producer.abort_transaction(WAIT)


@case
def transaction_timeout_aborts(t):
    create(t)
    producer = transactional(t, **{"transaction.timeout.ms": 1500})
    producer.begin_transaction()
    producer.produce(t.topic, "late", partition=0)
    producer.flush(WAIT)
    produce(t, [(0, None, "after")])
    wait_until(lambda: values(read_all(t, **COMMITTED)) == ["after"], 60, "the abort by the broker")
    try:
        producer.commit_transaction(WAIT)
        raise AssertionError("the late commit was taken")
    except KafkaException as error:
        assert error.args[0].fatal() or error.args[0].txn_requires_abort(), error


# ---- admin


@case
def admin_topics(t):
    admin = create(t, 2, retention_ms="1000000")
    described = admin.describe_topics(TopicCollection([t.topic]))[t.topic].result(WAIT)
    expect([p.id for p in described.partitions], [0, 1], "partitions")
    assert str(described.topic_id) and not described.is_internal
    listed = admin.list_topics(timeout=WAIT).topics
    expect(len(listed[t.topic].partitions), 2, "listed partitions")
    refused(admin.create_topics([NewTopic(t.topic, 1, 1)])[t.topic], KafkaError.TOPIC_ALREADY_EXISTS)
    refused(admin.create_topics([NewTopic("a b", 1, 1)])["a b"], KafkaError.TOPIC_EXCEPTION)
    bad = t.topic + "-bad"
    refused(admin.create_topics([NewTopic(bad, 1, 3)])[bad], KafkaError.INVALID_REPLICATION_FACTOR)
    refused(admin.create_topics([NewTopic(bad, 1, 1, config={"retention.ms": "soon"})])[bad], KafkaError.INVALID_CONFIG)
    refused(admin.create_topics([NewTopic(bad, 0, 1)])[bad], KafkaError.INVALID_PARTITIONS)
    admin.create_topics([NewTopic(bad, 1, 1)], validate_only=True)[bad].result(WAIT)
    assert bad not in admin.list_topics(timeout=WAIT).topics
    admin.delete_topics([t.topic])[t.topic].result(WAIT)
    wait_until(lambda: t.topic not in admin.list_topics(timeout=WAIT).topics, WAIT, "the deletion")
    refused(admin.delete_topics([t.topic])[t.topic], KafkaError.UNKNOWN_TOPIC_OR_PART)


@case
def admin_configs(t):
    admin = create(t, 1, retention_ms="1000000")

    def option(name):
        resource = ConfigResource(ConfigResource.Type.TOPIC, t.topic)
        return admin.describe_configs([resource])[resource].result(WAIT)[name]

    def alter(name, value, operation=AlterConfigOpType.SET):
        resource = ConfigResource(ConfigResource.Type.TOPIC, t.topic)
        resource.add_incremental_config(ConfigEntry(name, value, incremental_operation=operation))
        return admin.incremental_alter_configs([resource])[resource]

    expect((option("retention.ms").value, option("retention.ms").is_default), ("1000000", False), "retention.ms")
    expect(option("cleanup.policy").is_default, True, "cleanup.policy is the default")
    alter("retention.ms", "2000000").result(WAIT)
    wait_until(lambda: option("retention.ms").value == "2000000", WAIT, "the new value")
    alter("cleanup.policy", "compact", AlterConfigOpType.APPEND).result(WAIT)
    wait_until(lambda: set(option("cleanup.policy").value.split(",")) == {"delete", "compact"}, WAIT, "the appended value")
    alter("retention.ms", None, AlterConfigOpType.DELETE).result(WAIT)
    wait_until(lambda: option("retention.ms").value == "604800000", WAIT, "the default")
    refused(alter("retention.ms", "a week"), KafkaError.INVALID_CONFIG)
    refused(alter("compression.type", "rar"), KafkaError.INVALID_CONFIG)
    refused(alter("no.such.option", "1"), KafkaError.INVALID_CONFIG)
    expect(option("retention.ms").value, "604800000", "after what was refused")
    missing = ConfigResource(ConfigResource.Type.TOPIC, t.topic + "-missing")
    refused(admin.describe_configs([missing])[missing], KafkaError.UNKNOWN_TOPIC_OR_PART)
    broker_id = next(iter(admin.list_topics(timeout=WAIT).brokers))
    broker = ConfigResource(ConfigResource.Type.BROKER, str(broker_id))
    assert "num.partitions" in admin.describe_configs([broker])[broker].result(WAIT)


@case
def admin_partitions_and_records(t):
    admin = create(t, 2)
    admin.create_partitions([NewPartitions(t.topic, 5)])[t.topic].result(WAIT)
    wait_until(lambda: len(admin.list_topics(t.topic, timeout=WAIT).topics[t.topic].partitions) == 5, WAIT, "the partitions")
    refused(admin.create_partitions([NewPartitions(t.topic, 3)])[t.topic], KafkaError.INVALID_PARTITIONS)
    produce(t, [(4, None, str(i)) for i in range(100)])
    at = TopicPartition(t.topic, 4, 60)
    expect(admin.delete_records([at])[at].result(WAIT).low_watermark, 60, "low watermark")
    expect(admin.list_offsets({at: OffsetSpec.earliest()})[at].result(WAIT).offset, 60, "earliest")
    expect(admin.list_offsets({at: OffsetSpec.latest()})[at].result(WAIT).offset, 100, "latest")
    refused(admin.delete_records([TopicPartition(t.topic, 4, 101)])[at], KafkaError.OFFSET_OUT_OF_RANGE)
    expect([m.offset() for m in read_all(t, 5)], list(range(60, 100)), "what is left")


@case
def admin_groups(t):
    admin = create(t, 2)
    produce(t, [(i % 2, None, str(i)) for i in range(100)])
    member = Member(t, consumer_of(t, **{"client.id": "the-member"}))
    wait_until(lambda: len(member.messages) == 100 and shares([member], [2]), WAIT, "the messages")
    group = admin.describe_consumer_groups([t.group])[t.group].result(WAIT)
    expect((group.state, group.is_simple_consumer_group), (ConsumerGroupState.STABLE, False), "state")
    expect((len(group.members), group.members[0].client_id), (1, "the-member"), "members")
    expect({(p.topic, p.partition) for p in group.members[0].assignment.topic_partitions}, {(t.topic, 0), (t.topic, 1)}, "assignment")
    listed = {g.group_id: g for g in admin.list_consumer_groups(states={ConsumerGroupState.STABLE}).result(WAIT).valid}
    assert t.group in listed, listed
    refused(admin.delete_consumer_groups([t.group])[t.group], KafkaError.NON_EMPTY_GROUP)
    member.left()
    wait_until(lambda: admin.describe_consumer_groups([t.group])[t.group].result(WAIT).state == ConsumerGroupState.EMPTY, WAIT, "the empty group")
    ask = ConsumerGroupTopicPartitions(t.group)
    found = admin.list_consumer_group_offsets([ask])[t.group].result(WAIT)
    expect({(p.partition, p.offset) for p in found.topic_partitions}, {(0, 50), (1, 50)}, "offsets")
    change = ConsumerGroupTopicPartitions(t.group, [TopicPartition(t.topic, 0, 7)])
    admin.alter_consumer_group_offsets([change])[t.group].result(WAIT)
    found = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(t.group)])[t.group].result(WAIT)
    expect({(p.partition, p.offset) for p in found.topic_partitions}, {(0, 7), (1, 50)}, "offsets after the change")
    admin.delete_consumer_groups([t.group])[t.group].result(WAIT)
    listed = {g.group_id for g in admin.list_consumer_groups().result(WAIT).valid}
    assert t.group not in listed, listed
    refused(admin.delete_consumer_groups([t.group])[t.group], KafkaError.GROUP_ID_NOT_FOUND)


@case
def admin_cluster(t):
    admin = admin_of(t)
    cluster = admin.describe_cluster().result(WAIT)
    assert cluster.cluster_id, cluster
    expect([f"{n.host}:{n.port}" for n in cluster.nodes], [t.bootstrap], "nodes")
    expect(cluster.controller.id, cluster.nodes[0].id, "controller")


if __name__ == "__main__":
    main("librdkafka")
