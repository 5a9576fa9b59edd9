"""librdkafka 2.x through confluent-kafka: suite_librdkafka.py BOOTSTRAP [CASE...]"""
import time

from confluent_kafka import (OFFSET_END, ConsumerGroupState, ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, KafkaException, Producer,
                             TopicCollection, TopicPartition)
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec
from harness import CODECS, case, expect, main, wait_until
from librdkafka_clients import WAIT, COMMITTED, admin_of, create, produce, consumer_of, take, read_all, refused
from librdkafka_groups import Member, shares  # and its cases

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
    base = int(time.time()) * 1000 - 3_600_000  # retention spares it
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
    try:
        producer.produce(t.topic, "x", partition=7, on_delivery=lambda e, m: errors.append(e))
        producer.flush(WAIT)
    except KafkaException as refused:  # at once, when the client knows the topic by then
        errors.append(refused.args[0])
    expect([e.code() for e in errors], [KafkaError._UNKNOWN_PARTITION], "errors")


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
