"""Clients of librdkafka, and what the cases do with them."""
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from harness import expect

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
