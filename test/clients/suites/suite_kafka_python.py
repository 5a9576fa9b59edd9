"""kafka-python: suite_kafka_python.py BOOTSTRAP [CASE...]"""
import threading
import time

from harness import CODECS, case, expect, main, wait_until
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import (CommitFailedError, GroupIdNotFoundError, InvalidConfigurationError, InvalidPartitionsError, InvalidProducerEpochError,
                          InvalidReplicationFactorError, InvalidTopicError, KafkaError, MessageSizeTooLargeError, OffsetOutOfRangeError,
                          ProducerFencedError, RebalanceInProgressError, TopicAlreadyExistsError, UnknownTopicOrPartitionError)

WAIT = 40
BASE = int(time.time()) * 1000 - 3_600_000  # retention spares it


def admin_of(t):
    return KafkaAdminClient(bootstrap_servers=t.bootstrap)


def create(t, partitions=1, name=None, **configs):
    with_dots = {k.replace("_", "."): v for k, v in configs.items()}
    admin = admin_of(t)
    admin.create_topics({name or t.topic: {"num_partitions": partitions, "replication_factor": 1, "configs": with_dots}}, wait_for_metadata=True)
    return admin


def producer_of(t, **config):
    return KafkaProducer(bootstrap_servers=t.bootstrap, linger_ms=5, **config)


def produce(t, records, topic=None, **config):
    """Produces (partition, key, value[, headers[, timestamp]]), all acked; gives what was acked."""
    producer = producer_of(t, **config)
    futures = []
    for partition, key, value, *more in records:
        futures.append(producer.send(topic or t.topic, value, key, (more[0] if more else None) or [], partition, more[1] if len(more) > 1 else None))
    producer.flush(60)
    acked = [f.get(WAIT) for f in futures]
    producer.close()
    return acked


def numbers(first, last, partitions=1):
    return [(i % partitions, None, b"%d" % i) for i in range(first, last)]


def consumer_of(t, **config):
    return KafkaConsumer(**{"bootstrap_servers": t.bootstrap, "group_id": t.group, "auto_offset_reset": "earliest", "enable_auto_commit": False,
                            "session_timeout_ms": 6000, "heartbeat_interval_ms": 300, "metadata_max_age_ms": 1000, **config})


def poll(consumer, timeout_ms=200):
    return [record for records in consumer.poll(timeout_ms).values() for record in records]


def take(consumer, count):
    records, end = [], time.monotonic() + WAIT
    while len(records) < count:
        records += poll(consumer)
        assert time.monotonic() < end, f"{len(records)} of {count} records came"
    return records


def read_all(t, partitions=1, topic=None, **config):
    consumer = consumer_of(t, **{"group_id": None, **config})
    at = [TopicPartition(topic or t.topic, p) for p in range(partitions)]
    consumer.assign(at)
    consumer.seek_to_beginning(*at)
    ends, records, end = consumer.end_offsets(at), [], time.monotonic() + WAIT
    while any(consumer.position(p) < ends[p] for p in at):
        records += poll(consumer)
        assert time.monotonic() < end, f"the ends {ends} were not reached; read {len(records)}"
    consumer.close()
    return records


def values(records):
    return [r.value for r in records]


def refused(error, action, *arguments, **more):
    try:
        action(*arguments, **more)
    except error as refusal:
        return refusal
    raise AssertionError(f"not refused with {error}")


# ---- produce and consume


@case
def order_and_counts(t):
    create(t, 4)
    produce(t, numbers(0, 4000, 4))
    records = read_all(t, 4)
    expect(len(records), 4000, "records")
    for partition in range(4):
        mine = [r for r in records if r.partition == partition]
        expect([r.offset for r in mine], list(range(1000)), "offsets")
        expect([int(r.value) for r in mine], list(range(partition, 4000, 4)), "order")


@case
def codecs(t):
    create(t)
    wanted = []
    for codec in CODECS:
        some = [b"%s %d " % (codec.encode(), i) * 20 for i in range(300)]
        produce(t, [(0, None, v) for v in some], compression_type=None if codec == "none" else codec)
        wanted += some
    expect(values(read_all(t)), wanted, "values")


@case
def headers(t):
    create(t)
    wanted = [("a", b"1"), ("a", b"2"), ("empty", b""), ("bytes", bytes(range(256)))]
    produce(t, [(0, b"k", b"v", wanted), (0, b"k", b"none")])
    expect([list(r.headers) for r in read_all(t)], [wanted, []], "headers")


@case
def timestamps(t):
    create(t)
    produce(t, [(0, None, b"%d" % i, None, BASE + i * 1000) for i in range(10)])
    expect([(r.timestamp_type, r.timestamp) for r in read_all(t)], [(0, BASE + i * 1000) for i in range(10)], "CreateTime")
    consumer, at = consumer_of(t), TopicPartition(t.topic, 0)
    expect(consumer.offsets_for_times({at: BASE + 4500})[at].offset, 5, "offset for a time between")
    expect(consumer.offsets_for_times({at: BASE + 100_000})[at], None, "offset for a time after all")
    consumer.close()


@case
def null_and_empty(t):
    create(t)
    pairs = [(b"", b""), (b"k", None), (None, b"v"), (None, b"")]
    produce(t, [(0, k, v) for k, v in pairs])
    expect([(r.key, r.value) for r in read_all(t)], pairs, "pairs")


@case
def large_records(t):
    create(t)
    some = [bytes([i]) * 900_000 for i in range(5)]
    produce(t, [(0, None, v) for v in some])
    assert values(read_all(t)) == some
    create(t, 1, t.topic + "-small", max_message_bytes="10000")
    refused(MessageSizeTooLargeError, produce, t, [(0, None, b"x" * 50_000)], t.topic + "-small", retries=0)


@case
def idempotent_producer(t):
    create(t, 3)
    acked = produce(t, numbers(0, 6000, 3), enable_idempotence=True)
    expect([m.offset for m in acked], [i // 3 for i in range(6000)], "offsets")
    expect(sorted(int(v) for v in values(read_all(t, 3))), list(range(6000)), "values")


@case
def without_idempotence(t):
    create(t)
    for acks in (0, 1, "all"):
        produce(t, numbers(0, 100), enable_idempotence=False, acks=acks)
    wait_until(lambda: len(read_all(t)) == 300, WAIT, "the records' arrival")


# ---- groups


class Member(threading.Thread, ConsumerRebalanceListener):
    """Polls in a thread of its own until left(); commits what it saw now and then and when it leaves (not when it is revoked: this
    client cannot wait in the listener), so that a rebalance may bring some records twice."""

    def __init__(self, t, **config):
        super().__init__()
        self.consumer, self.records, self.assigned, self.failure = consumer_of(t, **config), [], set(), None
        self.leaving = threading.Event()
        self.consumer.subscribe([t.topic], listener=self)
        self.start()

    def on_partitions_assigned(self, assigned):
        self.assigned = self.assigned | set(assigned)

    def on_partitions_revoked(self, revoked):
        self.assigned = self.assigned - set(revoked)

    def on_partitions_lost(self, lost):
        self.assigned = self.assigned - set(lost)

    def commit(self):
        try:
            self.consumer.commit()
        except (CommitFailedError, RebalanceInProgressError):
            pass  # a rebalance is under way: then the next one reads those records once more
        except KafkaError as error:
            if not error.retriable:
                raise

    def run(self):
        try:
            since = time.monotonic()
            while not self.leaving.is_set():
                self.records += poll(self.consumer, 100)
                if time.monotonic() - since > 0.5:
                    self.commit()
                    since = time.monotonic()
            self.commit()
        except BaseException as error:
            self.failure = error
        finally:
            self.consumer.close(autocommit=False)

    def left(self):
        self.leaving.set()
        self.join(WAIT)
        if self.failure:
            raise self.failure


def shares(members, sizes):
    for member in members:
        if member.failure:
            raise member.failure
    owned = [p for m in members for p in m.assigned]
    return sorted(len(m.assigned) for m in members) == sorted(sizes) and len(owned) == len(set(owned))


def rebalance_while_producing(t, assignors):
    create(t, 6)
    stop, futures = threading.Event(), []

    def pump():
        producer = producer_of(t, enable_idempotence=True)
        while not stop.wait(0.05):
            for _ in range(20):
                futures.append(producer.send(t.topic, b"%d" % len(futures), partition=len(futures) % 6))
        producer.flush(WAIT)
        producer.close()

    pumping = threading.Thread(target=pump)
    pumping.start()
    config = {"partition_assignment_strategy": assignors}
    members = [Member(t, **config)]
    try:
        wait_until(lambda: shares(members, [6]), WAIT, "the first assignment")
        members.append(Member(t, **config))
        wait_until(lambda: shares(members, [3, 3]), WAIT, "the assignment of two")
        members[0].left()
        wait_until(lambda: shares(members[1:], [6]), WAIT, "the assignment of the one that stays")
    finally:
        stop.set()
        pumping.join()
    expect([f.exception for f in futures if f.exception], [], "delivery errors")
    wait_until(lambda: {int(r.value) for m in members for r in m.records} == set(range(len(futures))), WAIT, "all records")
    members[1].left()
    consumer = consumer_of(t)
    expect(sum(consumer.committed(TopicPartition(t.topic, p)) for p in range(6)), len(futures), "committed offsets")
    consumer.close()


@case
def rebalance_while_producing_eager(t):
    rebalance_while_producing(t, [RangePartitionAssignor, RoundRobinPartitionAssignor])


@case
def rebalance_while_producing_cooperative(t):
    rebalance_while_producing(t, [CooperativeStickyAssignor])


@case
def static_members(t):
    create(t, 4)
    config = {"session_timeout_ms": 20000}
    one, two = Member(t, group_instance_id="one", **config), Member(t, group_instance_id="two", **config)
    wait_until(lambda: shares([one, two], [2, 2]), WAIT, "the assignment")
    had, others = one.assigned, two.assigned
    one.left()
    again = Member(t, group_instance_id="one", **config)
    wait_until(lambda: again.assigned, WAIT, "the assignment of the one that came back")
    expect((again.assigned, two.assigned), (had, others), "assignments")
    again.left()
    two.left()


@case
def commit_and_resume(t):
    create(t, 2)
    produce(t, numbers(0, 200, 2))
    first = consumer_of(t, max_poll_records=10)
    first.subscribe([t.topic])
    seen = take(first, 100)
    first.commit()
    first.close()
    second = consumer_of(t)
    second.subscribe([t.topic])
    seen += take(second, 200 - len(seen))
    expect(sorted(int(v) for v in values(seen)), list(range(200)), "each once")
    at = TopicPartition(t.topic, 0)
    second.commit({at: OffsetAndMetadata(42, "where I was", -1)})
    found = second.committed(at, metadata=True)
    expect((found.offset, found.metadata), (42, "where I was"), "committed")
    expect(second.committed(TopicPartition(t.topic + "-none", 0)), None, "committed nowhere")
    second.close()


@case
def seek_and_pause(t):
    create(t, 2)
    produce(t, numbers(0, 100, 2))
    zero = TopicPartition(t.topic, 0)
    consumer = consumer_of(t)
    consumer.subscribe([t.topic])
    take(consumer, 100)
    consumer.seek(zero, 48)
    expect([r.offset for r in take(consumer, 2)], [48, 49], "after the seek")
    consumer.pause(zero)
    produce(t, [(0, None, b"paused"), (1, None, b"goes on")])
    expect(values(take(consumer, 1)), [b"goes on"], "while the other is paused")
    expect(poll(consumer, 500), [], "from a paused partition")
    consumer.resume(zero)
    expect(values(take(consumer, 1)), [b"paused"], "after resume")
    consumer.close()


# ---- transactions


def transactional(t, **config):
    producer = producer_of(t, transactional_id=t.transactional_id, **config)
    producer.init_transactions()
    return producer


def read_committed(t, count, partitions=1, topic=None):
    """What is committed, once it is `count` records: the broker ends a transaction by and by after it has said so."""
    wait_until(lambda: len(read_all(t, partitions, topic, isolation_level="read_committed")) >= count, WAIT, f"{count} committed records")
    return values(read_all(t, partitions, topic, isolation_level="read_committed"))


@case
def transaction_commit_and_abort(t):
    create(t, 2)
    producer = transactional(t)
    for number in range(4):
        producer.begin_transaction()
        for i in range(10):
            producer.send(t.topic, b"%d.%d" % (number, i), partition=i % 2)
        producer.flush()
        producer.abort_transaction() if number % 2 else producer.commit_transaction()
    producer.close()
    expect(sorted(read_committed(t, 20, 2)), sorted(b"%d.%d" % (n, i) for n in (0, 2) for i in range(10)), "read_committed")
    expect(len(read_all(t, 2)), 40, "read_uncommitted")


@case
def open_transaction_holds_readers_back(t):
    create(t)
    producer = transactional(t)
    producer.begin_transaction()
    producer.send(t.topic, b"open", partition=0).get(WAIT)
    produce(t, [(0, None, b"after")])
    expect(values(read_all(t, isolation_level="read_committed")), [], "read_committed while it is open")
    expect(values(read_all(t)), [b"open", b"after"], "read_uncommitted")
    producer.commit_transaction()
    expect(read_committed(t, 2), [b"open", b"after"], "read_committed after")
    producer.close()


@case
def second_producer_fences_the_first(t):
    create(t)
    zombie = transactional(t)
    zombie.begin_transaction()
    zombie.send(t.topic, b"zombie", partition=0).get(WAIT)
    heir = transactional(t)

    def again():
        zombie.send(t.topic, b"zombie again", partition=0).get(WAIT)
        zombie.commit_transaction()

    refused((ProducerFencedError, InvalidProducerEpochError), again)
    heir.begin_transaction()
    heir.send(t.topic, b"heir", partition=0)
    heir.commit_transaction()
    expect(read_committed(t, 1), [b"heir"], "read_committed")
    heir.close()
    zombie.close(1)


@case
def consume_transform_produce(t):
    create(t, 2)
    create(t, 2, t.topic + "-out")
    produce(t, numbers(0, 200, 2))
    done, attempt = 0, 0
    while done < 200:
        attempt += 1
        consumer, producer = consumer_of(t, isolation_level="read_committed", max_poll_records=20), transactional(t)
        consumer.subscribe([t.topic])
        for number in range(1000):
            batch = take(consumer, 1)
            producer.begin_transaction()
            for r in batch:
                producer.send(t.topic + "-out", b"done " + r.value, partition=r.partition)
            offsets = {TopicPartition(r.topic, r.partition): OffsetAndMetadata(r.offset + 1, "", -1) for r in batch}
            producer.send_offsets_to_transaction(offsets, consumer.group_metadata())
            if number == 2 and attempt < 3:  # the third round of the first attempts is lost, with its consumer
                producer.abort_transaction()
                break
            producer.commit_transaction()
            done += len(batch)
            if done == 200:
                break
        consumer.close()
        producer.close()
    expect(sorted(read_committed(t, 200, 2, t.topic + "-out")), sorted(b"done %d" % i for i in range(200)), "output")


# ---- admin


@case
def admin_topics(t):
    admin = create(t, 2, retention_ms="1000000")
    assert t.topic in admin.list_topics()
    described = admin.describe_topics([t.topic])[0]
    expect(sorted(p["partition_index"] for p in described["partitions"]), [0, 1], "partitions")
    bad = t.topic + "-bad"
    refused(TopicAlreadyExistsError, admin.create_topics, {t.topic: {}})
    refused(InvalidTopicError, admin.create_topics, {"a b": {}})
    refused(InvalidReplicationFactorError, admin.create_topics, {bad: {"num_partitions": 1, "replication_factor": 3}})
    refused(InvalidConfigurationError, admin.create_topics, {bad: {"configs": {"retention.ms": "soon"}}})
    admin.create_topics({bad: {}}, validate_only=True)
    assert bad not in admin.list_topics()
    admin.delete_topics([t.topic])
    wait_until(lambda: t.topic not in admin.list_topics(), WAIT, "the deletion")
    refused(UnknownTopicOrPartitionError, admin.delete_topics, [t.topic])
    admin.close()


@case
def admin_configs(t):
    admin = create(t, retention_ms="1000000")

    def option(name):
        found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, t.topic)], config_filter="all")
        return found["topic"][t.topic][name]["value"]

    def alter(name, value):
        return admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, t.topic, {name: value})], raise_on_unknown=False)

    expect(option("retention.ms"), "1000000", "retention.ms")
    alter("retention.ms", "2000000")
    wait_until(lambda: option("retention.ms") == "2000000", WAIT, "the new value")
    answers = []
    for name, value in (("retention.ms", "a week"), ("no.such.option", "1")):
        try:
            answers.append(str(alter(name, value)))
        except InvalidConfigurationError as error:
            answers.append(f"InvalidConfigurationError {error}")
    assert all("InvalidConfig" in a for a in answers), answers
    expect(option("retention.ms"), "2000000", "after what was refused")
    admin.close()


@case
def admin_partitions_and_records(t):
    admin = create(t, 2)
    admin.create_partitions({t.topic: 5})
    wait_until(lambda: len(admin.describe_topics([t.topic])[0]["partitions"]) == 5, WAIT, "the partitions")
    refused(InvalidPartitionsError, admin.create_partitions, {t.topic: 3})
    at = TopicPartition(t.topic, 0)
    produce(t, numbers(0, 100))
    admin.delete_records({at: 60})
    expect(admin.list_partition_offsets({at: OffsetSpec.EARLIEST})[at].offset, 60, "earliest")
    expect(admin.list_partition_offsets({at: OffsetSpec.LATEST})[at].offset, 100, "latest")
    refused(OffsetOutOfRangeError, admin.delete_records, {at: 101})
    expect([r.offset for r in read_all(t)], list(range(60, 100)), "what is left")
    admin.close()


@case
def admin_groups(t):
    admin = create(t, 2)
    produce(t, numbers(0, 100, 2))
    member = Member(t, client_id="the-member")
    wait_until(lambda: len(member.records) >= 100 and shares([member], [2]), WAIT, "the records")
    group = admin.describe_groups([t.group])[t.group]
    expect((group["group_state"], group["protocol_type"], len(group["members"])), ("Stable", "consumer", 1), "group")
    expect(group["members"][0]["client_id"], "the-member", "client")
    assert t.group in {g["group_id"] for g in admin.list_groups()}
    member.left()
    wait_until(lambda: admin.describe_groups([t.group])[t.group]["group_state"] == "Empty", WAIT, "the empty group")
    found = admin.list_group_offsets([t.group])[t.group]
    expect({p.partition: o.offset for p, o in found.items()}, {0: 50, 1: 50}, "offsets")
    admin.alter_group_offsets(t.group, {TopicPartition(t.topic, 0): OffsetAndMetadata(7, "", -1)})
    found = admin.list_group_offsets([t.group])[t.group]
    expect({p.partition: o.offset for p, o in found.items()}, {0: 7, 1: 50}, "offsets after the change")
    admin.delete_group_offsets(t.group, [TopicPartition(t.topic, 0)])
    found = admin.list_group_offsets([t.group])[t.group]
    expect({p.partition: o.offset for p, o in found.items()}, {1: 50}, "offsets after a deletion")
    admin.delete_groups([t.group])
    assert t.group not in {g["group_id"] for g in admin.list_groups()}
    try:
        again = str(admin.delete_groups([t.group]))
    except GroupIdNotFoundError as error:
        again = f"GroupIdNotFoundError {error}"
    assert "GroupIdNotFound" in again, again
    admin.close()


@case
def admin_transactions_and_producers(t):
    admin = create(t)
    producer = transactional(t)
    producer.begin_transaction()
    producer.send(t.topic, b"x", partition=0).get(WAIT)
    described = admin.describe_transactions([t.transactional_id])[t.transactional_id]
    assert "ONGOING" in str(described.state).upper(), described
    at = TopicPartition(t.topic, 0)
    state = admin.describe_producers([at])[at]
    assert str(described.producer_id) in str(state), state
    assert t.transactional_id in str(admin.list_transactions())
    producer.commit_transaction()
    producer.close()
    admin.close()


@case
def admin_cluster(t):
    admin = create(t)
    cluster = admin.describe_cluster()
    expect([f"{b['host']}:{b['port']}" for b in cluster["brokers"]], [t.bootstrap], "brokers")
    produce(t, [(0, None, b"x" * 100_000)])
    assert t.topic in str(admin.describe_log_dirs())
    admin.close()


if __name__ == "__main__":
    main("kafka-python")
