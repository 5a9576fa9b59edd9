"""What becomes of records as a client sees it: compaction, recompression, duplicates, timestamps, huge ones. All but the duplicates
holds against Apache Kafka too (MILLRACE_TEST_TARGET=kafka, with log.cleaner.backoff.ms at its 15 s)."""
import itertools
import time

import pytest
from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from draining import drain
from node import wait_until

_numbers = itertools.count()
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


@pytest.fixture
def create(target):
    """Makes a topic of one partition with the given options; gives its name."""
    def run(**options):
        name = f"cleaning-{next(_numbers)}"
        options = {k.replace("_", "."): str(v) for k, v in options.items()}
        admin = AdminClient({"bootstrap.servers": target.kafka})
        admin.create_topics([NewTopic(name, 1, 1, config=options)])[name].result(30)
        return name
    return run


def produce(target, topic, records, **config):
    """Produces (key, value[, headers]); gives the delivered messages, or raises the first error."""
    delivered, errors = [], []

    def on_delivery(error, message):
        (errors if error else delivered).append(error or message)

    producer = Producer({"bootstrap.servers": target.kafka, "linger.ms": 5, **config})
    for key, value, *headers in records:
        while True:
            try:
                producer.produce(topic, key=key, value=value, headers=headers[0] if headers else None, on_delivery=on_delivery)
                break
            except BufferError:
                producer.poll(0.05)
    assert producer.flush(120) == 0
    if errors:
        raise KafkaException(errors[0])
    return delivered


def consume(target, topic, start=OFFSET_BEGINNING, **config):
    """All messages from `start` to the end."""
    consumer = Consumer({"bootstrap.servers": target.kafka, "group.id": "none", "enable.auto.commit": False, "enable.partition.eof": True,
                         **config})
    consumer.assign([TopicPartition(topic, 0, start)])
    return drain(consumer)


COMPACTED = {"cleanup_policy": "compact", "min_cleanable_dirty_ratio": 0.01, "segment_bytes": 1 << 20, "delete_retention_ms": 0,
             "segment_ms": 1000, "max_compaction_lag_ms": 1000}


@pytest.mark.parametrize("codec", CODECS)
def test_a_compacted_topic_keeps_the_last_of_each_key(target, create, codec):
    topic = create(**COMPACTED)
    model = {}
    for round_ in range(4):
        records = [(f"key {i % 100}", f"value {round_}-{i} " + "x" * 500) for i in range(2000)]
        if round_ == 3:
            records += [(f"key {i}", None) for i in range(0, 100, 10)]
        for message in produce(target, topic, records, **{"compression.type": codec, "enable.idempotence": True}):
            model[message.key()] = (message.offset(), message.value())
    end = max(offset for offset, _ in model.values()) + 1
    time.sleep(1.1)
    produce(target, topic, [("last", "makes the segment before it old")])

    def cleaned():
        messages = [m for m in consume(target, topic) if m.offset() < end]
        return messages if len(messages) <= 200 else None
    messages = wait_until(cleaned, 120, "compaction")
    offsets = [m.offset() for m in messages]
    assert offsets == sorted(set(offsets))
    seen = {}
    for message in messages:
        seen[message.key()] = (message.offset(), message.value())
    alive = {key: at for key, at in model.items() if at[1] is not None}
    assert {key: at for key, at in seen.items() if at[1] is not None} == alive
    # Offsets that are gone lead to the next that is there.
    assert consume(target, topic, offsets[0] - 1 if offsets[0] else 0)[0].offset() == offsets[0]


def test_a_compacted_topic_refuses_records_without_a_key(target, create):
    topic = create(cleanup_policy="compact")
    with pytest.raises(KafkaException) as refused:
        produce(target, topic, [(None, "no key")])
    assert refused.value.args[0].code() == KafkaError.INVALID_RECORD
    produce(target, topic, [("key", "value")])


@pytest.mark.parametrize("kept", ["uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_batches_are_kept_in_the_topics_codec(target, create, kept):
    topic = create(compression_type=kept)
    sent = []
    for codec in CODECS:
        records = [(f"{codec} {i}", f"value {i} " * 20, [("codec", codec.encode())]) for i in range(300)]
        produce(target, topic, records, **{"compression.type": codec, "enable.idempotence": True})
        sent += [(k.encode(), v.encode()) for k, v, _ in records]
    messages = consume(target, topic, **{"check.crcs": True})
    assert [(m.key(), m.value()) for m in messages] == sent
    assert [m.offset() for m in messages] == list(range(len(sent)))
    assert messages[0].headers() == [("codec", b"none")]


def test_log_append_time_is_the_brokers(target, create):
    topic = create(message_timestamp_type="LogAppendTime")
    before = int(time.time() * 1000) - 1000
    producer = Producer({"bootstrap.servers": target.kafka})
    delivered = []
    producer.produce(topic, "v", timestamp=1000, on_delivery=lambda error, message: delivered.append(message.timestamp()))
    assert producer.flush(30) == 0
    after = int(time.time() * 1000) + 1000
    [message] = consume(target, topic)
    for kind, at in (message.timestamp(), delivered[0]):
        assert before <= at <= after
    assert message.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME
    plain = create()
    producer.produce(plain, "v", timestamp=1000)
    assert producer.flush(30) == 0
    assert consume(target, plain)[0].timestamp() == (TIMESTAMP_CREATE_TIME, 1000)


def test_a_huge_record_goes_through(target, create):
    size = 90 << 20
    topic = create(max_message_bytes=100 << 20)
    value = bytes(range(256)) * (size // 256)
    produce(target, topic, [("huge", value), ("empty", b"")], **{"message.max.bytes": 101 << 20, "queue.buffering.max.kbytes": 1 << 18})
    huge, empty = consume(target, topic, **{"fetch.message.max.bytes": 101 << 20, "fetch.max.bytes": 101 << 20,
                                            "receive.message.max.bytes": 102 << 20})
    assert huge.value() == value
    assert empty.value() == b""


def test_a_record_above_the_topics_limit_is_refused(target, create):
    topic = create(max_message_bytes=10_000)
    with pytest.raises(KafkaException) as refused:
        produce(target, topic, [("k", "x" * 20_000)])
    assert refused.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_duplicates_are_left_out_by_key_and_after_a_restart(own_node):
    admin = AdminClient({"bootstrap.servers": own_node.kafka})
    for name, by in (("by-key", "key"), ("by-header", "header:id")):
        admin.create_topics([NewTopic(name, 1, 1, config={"deduplication": by, "deduplication.count": "1000"})])[name].result(30)
    records = [(f"k{i % 50}", f"v{i}", [("id", str(i % 20).encode())]) for i in range(200)]
    for start in ("fresh", "stopped", "killed"):
        for name in ("by-key", "by-header"):
            delivered = produce(own_node, name, records, **{"compression.type": "lz4", "enable.idempotence": True})
            assert len(delivered) == 200, start
        assert [m.value() for m in consume(own_node, "by-key")] == [b"v%d" % i for i in range(50)]
        assert [m.value() for m in consume(own_node, "by-header")] == [b"v%d" % i for i in range(20)]
        own_node.kill() if start == "stopped" else own_node.stop()
        own_node.start()
    produce(own_node, "by-key", [("new", "value")])
    assert consume(own_node, "by-key")[-1].value() == b"value"
